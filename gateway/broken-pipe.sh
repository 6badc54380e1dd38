# Nobody reads the command's output any more. sshd closes its end of the pipe then, and who writes on
# gets SIGPIPE; that end is the runtime's here, so whoever has the pipe as its stdout or stderr gets
# the signal from us, or SIGHUP where it ignores that one (after leader.sh). Not who has a child that
# has it: it waits for that one, and is no writer for now.
ignores_pipe() {
  while read -r name value; do
    [ "$name" = SigIgn: ] && case $value in *[13579bdf]???) return 0 ;; esac
  done <"/proc/$1/status"
  return 1
}

pipe=$(readlink "/proc/$leader/fd/1") writers= waiting=' '
[ -n "$pipe" ] || exit 0
for dir in /proc/[0-9]*; do
  pid=${dir#/proc/}
  [ "$(readlink "$dir/fd/1")" = "$pipe" ] || [ "$(readlink "$dir/fd/2")" = "$pipe" ] || continue
  fields "$pid" && [ "$state" != Z ] && writers="$writers $pid" waiting="$waiting$parent "
done 2>/dev/null
for pid in $writers; do
  case $waiting in *" $pid "*) continue ;; esac
  [ "$pid" = "$leader" ] && continue
  if ignores_pipe "$pid"; then kill -HUP "$pid"; else kill -PIPE "$pid"; fi
done 2>/dev/null
exit 0
