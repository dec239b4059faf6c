#!/usr/bin/env bash
# A Slurm cluster of one node on this machine, with accounting: munge, MariaDB, slurmdbd, slurmctld, slurmd, started by hand.
#   apt install slurm-wlm slurmdbd munge mariadb-server     Debian's packages; then, as root:
#   workflow/tests/slurm_cluster.sh start <folder>          everything it keeps is in the folder; /etc/slurm/slurm.conf links there
#   workflow/tests/slurm_cluster.sh node-kill <folder>      the node's daemon is killed; node-start starts it again
#   workflow/tests/slurm_cluster.sh stop <folder>
#   CPUS=2 and MEMORY=16000 (MB) of the node, GPUS=0 pretended devices, PORT=16817 the first of four ports.
set -euo pipefail
usage='usage: slurm_cluster.sh start|stop|node-kill|node-start <folder>'
action=${1:?$usage} folder=$(realpath -m "${2:?$usage}")
cpus=${CPUS:-2} memory=${MEMORY:-16000} gpus=${GPUS:-0} port=${PORT:-16817}
link=/etc/slurm/slurm.conf  # jobs look here: Snakemake takes SLURM_CONF out of their environment
export SLURM_CONF=$folder/slurm.conf
PATH=$PATH:/usr/sbin:/sbin

wait_for() { # <seconds> <what> <command...>: until the command succeeds
  local end=$((SECONDS + $1)) what=$2
  until "${@:3}" >/dev/null 2>&1; do
    if [ "$SECONDS" -gt "$end" ]; then
      echo "slurm_cluster: $what did not start; see $folder/*.log" >&2
      exit 1
    fi
    sleep 0.5
  done
}

configure() {
  cat >"$folder/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
MinJobAge=300
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePass=$folder/munge.socket
AccountingStoragePort=$((port + 2))
GresTypes=gpu
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory Gres=gpu:$gpus State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
END
  : >"$folder/gres.conf"
  for ((device = 0; device < gpus; device++)); do  # Slurm wants a device file: as /dev/null
    [ -e "$folder/gpu$device" ] || mknod "$folder/gpu$device" c 1 3
    echo "Name=gpu File=$folder/gpu$device" >>"$folder/gres.conf"
  done
  cat >"$folder/slurmdbd.conf" <<END
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
DbdHost=$(hostname -s)
DbdAddr=127.0.0.1
DbdPort=$((port + 2))
SlurmUser=root
LogFile=$folder/slurmdbd.log
PidFile=$folder/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((port + 3))
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_accounting
END
  chmod 600 "$folder/slurmdbd.conf"
}

sql() { mariadb --no-defaults --socket="$folder/db.socket" --user=root -e "$1"; }

start_node() { slurmd -c; }

start() {
  if [ -e "$link" ] && [ "$(realpath "$link")" != "$SLURM_CONF" ]; then
    echo "slurm_cluster: $link belongs to another cluster; nothing was started" >&2
    exit 1
  fi
  mkdir -p "$(dirname "$link")"
  ln -sfn "$SLURM_CONF" "$link"
  mkdir -p "$folder"/{state,spool,munge}
  chmod 700 "$folder/munge"
  configure
  if [ ! -f "$folder/munge/key" ]; then
    (umask 077 && dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none)
  fi
  munged --force --key-file="$folder/munge/key" --socket="$folder/munge.socket" --pid-file="$folder/munge/pid" \
    --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
  if [ ! -d "$folder/db/mysql" ]; then
    mariadb-install-db --no-defaults --user=root --datadir="$folder/db" --auth-root-authentication-method=normal \
      --skip-test-db >"$folder/db_install.log" 2>&1
  fi
  mariadbd --no-defaults --user=root --datadir="$folder/db" --socket="$folder/db.socket" --port=$((port + 3)) \
    --bind-address=127.0.0.1 --pid-file="$folder/db.pid" --innodb-lock-wait-timeout=900 >"$folder/db.log" 2>&1 &
  wait_for 60 mariadbd sql 'select 1'
  sql "create database if not exists slurm_accounting; create user if not exists slurm@'127.0.0.1' identified by 'slurm';
       create user if not exists slurm@localhost identified by 'slurm';
       grant all on slurm_accounting.* to slurm@'127.0.0.1'; grant all on slurm_accounting.* to slurm@localhost;"
  slurmdbd
  wait_for 120 slurmdbd sacctmgr -n show cluster
  sacctmgr -i add cluster test >/dev/null 2>&1 || true
  sacctmgr -i add account lab Cluster=test >/dev/null 2>&1 || true
  sacctmgr -i add user "$(id -un)" Account=lab Cluster=test >/dev/null 2>&1 || true
  slurmctld
  start_node
  wait_for 60 "the node" sh -c 'sinfo -h -o %T | grep -qE "idle|mixed|allocated"'
  sinfo
}

stop() {
  for daemon in slurmd slurmctld slurmdbd db; do
    pid=$(cat "$folder/$daemon.pid" 2>/dev/null) && kill "$pid" 2>/dev/null || true
  done
  pid=$(cat "$folder/munge/pid" 2>/dev/null) && kill "$pid" 2>/dev/null || true
  if [ "$(readlink "$link" || true)" = "$SLURM_CONF" ]; then rm "$link"; fi
}

case "$action" in
  start) start ;;
  stop) stop ;;
  node-kill) kill -KILL "$(cat "$folder/slurmd.pid")" ;;
  node-start) start_node ;;
  *) echo "$usage" >&2; exit 2 ;;
esac
