#!/bin/sh
# rank.sh DIRECTORY COMMAND... -- what launch.py has the launcher start as each
# rank: the command, with its standard error and its process id in files of
# their own, and its standard output in one file for all (launchers tear lines
# of several ranks apart).  A shell and exec, because a wrapper in Python would
# be the program's __main__.  The process id is the machine's also on a host that
# has a numbering of its own: a shell reads "self" itself.  Beside it stands the
# host's name.
directory=$1
shift
rank=${PMI_RANK:-${PMIX_RANK:-${OMPI_COMM_WORLD_RANK:-${SLURM_PROCID:-0}}}}
exec >> "$directory/stdout" 2> "$directory/rank-$rank.stderr"
read -r pid rest < "${EZMPI_TEST_PROC:-/proc}/self/stat"
cat /proc/sys/kernel/hostname > "$directory/rank-$rank.host"
echo "$pid" > "$directory/rank-$rank.writing"
mv "$directory/rank-$rank.writing" "$directory/rank-$rank.pid"
exec "$@"
