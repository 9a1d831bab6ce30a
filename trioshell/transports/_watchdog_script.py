"""What the watchdog does, for a POSIX shell: waits for our end, and then ends what is in the table.

On its stdin is the pipe that comes to an end with us, on its stdout the table. Its argument is
the number of our session, in which there can be nothing to end.
"""

from __future__ import annotations

# What a command is given between SIGTERM and SIGKILL when we are gone, whatever its Task would
# have given it.
GRACE_SECONDS = 2.0

# Written for the smallest shell (dash, busybox), as the guard of a remote target is. It ends all
# sessions at once and not one after the other: there may be a thousand, and /proc is read for
# all of them together.
SCRIPT = rb"""# ends what trioshell has started here, should that be gone without having done it
exec 3<&1 >/dev/null 2>&1
trap '' HUP INT QUIT PIPE ALRM TERM TSTP TTIN TTOU USR1 USR2
cd /
mine=$1
while read -r s; do :; done

# Before anything else: what has just been started may soon exchange its pipes.
links=$(ls -l /proc/[0-9]*/fd/[012])
set -f

sessions=' '
add() {
    case $sessions in *" $1 "*) ;; *) sessions="$sessions$1 " ;; esac
}

# The session of a process, whatever its name is, which may hold anything.
add_session_of() {
    s=$(cat /proc/$1/stat)
    set -- ${s##*) }
    case $4 in ''|*[!0-9]*|0|1|$mine) ;; *) add $4 ;; esac
}

pipes=' '
n=0
for word in $(od -A n -t u4 <&3); do
    case $n$word in
    ?'*') continue ;;
    00) pid= ;;
    0*) pid=$word; add $pid ;;
    ?0) ;;
    *) [ -n "$pid" ] || pipes="$pipes$word " ;;
    esac
    n=$(((n + 1) % 4))
done

if [ "$pipes" != ' ' ]; then
    for word in $links; do
        case $word in
        /proc/*) pid=${word#/proc/}; pid=${pid%/fd/?} ;;
        pipe:*)
            word=${word#*[}
            case $pipes in *" ${word%]} "*) add_session_of $pid ;; esac
            ;;
        esac
    done
fi

# Lines of: pid, group, session, state.
table() {
    ps -A -o pid= -o pgid= -o sid= -o stat= && return
    set +f
    for d in /proc/[0-9]*; do
        read -r s <$d/stat || continue
        set -- ${s##*) }
        echo ${d#/proc/} $3 $4 $1
    done
}

# Sets left to what lives in the sessions: a group that bears its session's number by that, any
# other process by its own. Nothing else of such a number can be there as long as one lives.
look() {
    left=
    n=0
    for word in $(table); do
        case $n in
        0) pid=$word ;;
        1) group=$word ;;
        2)
            case $sessions in *" $word "*) ;; *) pid= ;; esac
            [ $group = $word ] && [ -n "$pid" ] && pid=-$group
            ;;
        3)
            case "$left $word" in *" $pid "*|*' '[ZX]*) pid= ;; esac
            left="$left${pid:+ $pid}"
            ;;
        esac
        n=$(((n + 1) % 4))
    done
    [ -n "$left" ]
}

# Waits for $1 milliseconds at most until none is left.
gone_within() {
    nap=20
    slept=0
    while look; do
        [ $slept -ge $1 ] && return 1
        case $nap in ??) f=0$nap ;; *) f=$nap ;; esac
        if sleep 0.$f; then slept=$((slept + nap)); else sleep 1; slept=$((slept + 1000)); fi
        nap=$((nap * 2))
        [ $nap -gt 320 ] && nap=320
    done
}

look || exit 0
kill -s TERM -- $left
kill -s CONT -- $left
gone_within GRACE && exit 0
for again in 1 2 3 4 5 6 7 8; do
    kill -s KILL -- $left
    gone_within 200 && exit 0
done
""".replace(b"GRACE", b"%d" % round(GRACE_SECONDS * 1000))
