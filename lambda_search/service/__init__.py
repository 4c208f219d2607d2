"""The service: pages, REST and Optuna's dashboard over one store; it computes nothing itself."""
