#!/usr/bin/env bash
# Slurm: one job that starts Ray's head on its first node and workers on all, and drives what
# `lambda-search submit` queued. Checked with shellcheck and with stand-ins for srun, ray and the driver;
# NOT run under a real Slurm (22.05 or newer is assumed).
#
# In a folder that all nodes have, once: a clone, scripts/setup search,text,postgres there, and
# .venv/bin/uv pip install --python .venv/bin/python -c scripts/constraints.txt 'ray[default]==2.60.0'.
# The store's address, postgresql://USER:PASSWORD@HOST/NAME, is the one line of a file with mode 600.
# The first node must reach that database. Then: sbatch scripts/cluster/slurm.sh
# Before its time is over the driver gives its studies back; the same command goes on where it stopped.
#
# ---- edit from here ----
#SBATCH --job-name=lambda-search
#SBATCH --output=lambda-search-%j.log
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@180
shared=$HOME/lambda-search  # on all nodes: workers read its weights/ and references by the driver's paths
venv=$shared/lambda_search/.venv
store=$HOME/.config/lambda_search/store
head=$(hostname --ip-address | cut -d ' ' -f 1)  # or the first node's address in the fast network
# ---- to here ----
set -euo pipefail
PATH=$venv/bin:$PATH
unset LAMBDA_SEARCH_STORE  # the driver alone is told
export LAMBDA_SEARCH_HOME="$shared/home" RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
run=$(mktemp -d "$shared/ray-$SLURM_JOB_ID.XXXXXX")  # for this user alone
trap 'rm -rf "$run"; kill $(jobs -p) 2>/dev/null || true' EXIT
python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$run/token"
chmod 600 "$run/token"
export RAY_AUTH_TOKEN_PATH="$run/token"

port=$((20000 + SLURM_JOB_ID % 10000))  # others' jobs may have a Ray on the same node
ray_on() { # NODES SRUN-OPTION RAY-OPTION...: Ray on that many nodes, until this job ends
  srun --overlap --nodes="$1" --ntasks="$1" "$2" --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    ray start "${@:3}" --num-cpus="$SLURM_CPUS_PER_TASK" --temp-dir="/tmp/ray-$SLURM_JOB_ID" --block &
}
ray_on 1 --nodelist="$SLURMD_NODENAME" --head --node-ip-address="$head" --port="$port" --include-dashboard=false
tries=0
until ray status --address "$head:$port" >"$run/status" 2>&1; do
  ((++tries < 60)) || { cat "$run/status" >&2; exit 1; }
  sleep 2
done
if ((SLURM_JOB_NUM_NODES > 1)); then
  ray_on $((SLURM_JOB_NUM_NODES - 1)) --exclude="$SLURMD_NODENAME" --address="$head:$port"
fi

LAMBDA_SEARCH_STORE=$(cat "$store") \
  lambda-search drive --ray-address "$head:$port" --gpus 1 --models "$shared/weights" --until-empty &
driver=$!
trap 'kill -TERM "$driver"' TERM
code=0
wait "$driver" || code=$?
while kill -0 "$driver" 2>/dev/null; do  # that was the signal; it gives its studies back
  code=0
  wait "$driver" || code=$?
done
exit "$code"
