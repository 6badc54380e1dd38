# A client's signal goes where sshd sends it: to the group that the command leads. Under us the
# wrapper is its parent, and shares the group unless the command made its own (after leader.sh):
#   ... NAME
signal=$3 groups=
for dir in /proc/[0-9]*; do
  fields "${dir#/proc/}" && [ "$parent" = "$leader" ] && [ "$session" = "$ours" ] || continue
  case " $groups " in *" $group "*) ;; *) groups="$groups $group" ;; esac
done 2>/dev/null
for group in $groups; do kill "-$signal" "-$group"; done 2>/dev/null
exit 0
