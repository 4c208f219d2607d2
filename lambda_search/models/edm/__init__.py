"""EDM and PFGM++: preconditioned networks on σ itself."""
