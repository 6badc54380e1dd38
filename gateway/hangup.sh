# What a client's leaving does to a command under sshd, done from a second exec:
#   sh -c THIS sh SECOND_HALF_OF_NONCE FIRST_HALF tty|pipe GRACE_SECONDS
# The wrapper is found by its nonce; ours is in halves, the wrong way round (`read` drops the NUL
# between them), so that we don't find ourselves.
nonce=$2$1 tty=$3 grace=$4 leader=
for dir in /proc/[0-9]*; do
  # Emptied first: bash leaves it as it was when the process goes while it is read, for ever.
  while line=; IFS= read -r line || [ -n "$line" ]; do
    case $line in *"$nonce"*) leader=${dir#/proc/}; break 2 ;; esac
  done 2>/dev/null <"$dir/cmdline"
done
[ -n "$leader" ] || exit 0

# A stat line's second field may hold spaces and parentheses: count from the last parenthesis.
fields() {
  IFS= read -r stat <"/proc/$1/stat" || return
  set -- ${stat##*) }
  state=$1 parent=$2 group=$3 session=$4 front=$6
}

ignores_hangup() {
  while read -r name value; do
    [ "$name" = SigIgn: ] && case $value in *[13579bdf]) return 0 ;; esac
  done <"/proc/$1/status"
  return 1
}

# Without a tty: the whole session. With one: the leader (the wrapper), the shell that stands for
# it, and the foreground group. Those that ignore SIGHUP asked to stay.
targets() {
  for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}
    fields "$pid" && [ "$session" = "$ours" ] && [ "$state" != Z ] || continue
    [ "$tty" = pipe ] || [ "$group" = "$foreground" ] || [ "$parent" = "$leader" ] ||
      [ "$pid" = "$leader" ] || continue
    ignores_hangup "$pid" || echo "$pid"
  done 2>/dev/null
}

fields "$leader" 2>/dev/null || exit 0
ours=$session foreground=$front
for pid in $(targets); do kill -HUP "$pid"; kill -CONT "$pid"; done 2>/dev/null
sleep 0.1 2>/dev/null
while alive=$(targets) && [ -n "$alive" ]; do
  [ "$grace" -gt 0 ] || break
  grace=$((grace - 1))
  sleep 1
done
for pid in $alive; do kill -KILL "$pid"; done 2>/dev/null
exit 0
