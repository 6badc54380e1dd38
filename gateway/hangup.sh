# What a client's leaving does to a command under sshd, done from a second exec (after leader.sh):
#   ... tty|pipe|all|lost GRACE_SECONDS
# `all` is a pipe's, and spares nobody: a time limit is no leaving. `lost` is either: whoever knew
# is gone, and the nonce given is its first half only. The wrapper's own words tell.
tty=$3 grace=$4
if [ "$tty" = lost ]; then
  case $line in *"$nonce"????????????????tty*) tty=tty ;; *) tty=pipe ;; esac
fi

ignores_hangup() {
  while read -r name value; do
    [ "$name" = SigIgn: ] && case $value in *[13579bdf]) return 0 ;; esac
  done <"/proc/$1/status"
  return 1
}

# Without a tty: the whole session. With one: the leader (the wrapper), the shell that stands for
# it, and the foreground group. Those that ignore SIGHUP asked to stay. No process is
# begun for it: the pod may have no room for one.
look() {
  alive=
  for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}
    fields "$pid" && [ "$session" = "$ours" ] && [ "$state" != Z ] || continue
    [ "$tty" != tty ] || [ "$group" = "$foreground" ] || [ "$parent" = "$leader" ] ||
      [ "$pid" = "$leader" ] || continue
    [ "$tty" != all ] && ignores_hangup "$pid" || alive="$alive $pid"
  done 2>/dev/null
}

# Each is told once: a second SIGHUP means "at once" to some. What comes up meanwhile is told too.
told=' '
hang_up() {
  for pid in $alive; do
    case $told in *" $pid "*) continue ;; esac
    told="$told$pid "
    kill -HUP "$pid"
    kill -CONT "$pid"
  done 2>/dev/null
}

# Twice: the wrapper may have begun something yet.
end() {
  for round in 1 2; do
    look
    for pid in $alive; do kill -KILL "$pid"; done 2>/dev/null
  done
  echo ended
  exit 0
}

# Also when there is no room for `sleep`: a shell ends at that.
trap end EXIT
look
hang_up
sleep 0.1 2>/dev/null
# Alone, the wrapper only waits for somebody to take its trailer.
while look && [ -n "$alive" ] && [ "$alive" != " $leader" ]; do
  [ "$grace" -gt 0 ] || break
  grace=$((grace - 1))
  hang_up
  sleep 1
done
[ "$alive" != " $leader" ] || sleep 0.1 2>/dev/null
