# How a second exec finds the first: the wrapper has the nonce among its words.
#   sh -c THIS sh SECOND_HALF_OF_NONCE FIRST_HALF ...
# Ours is in halves, the wrong way round (`read` drops the NUL between them), so that we don't find
# ourselves.
nonce=$2$1 leader=
for dir in /proc/[0-9]*; do
  # Emptied first: bash leaves it as it was when the process goes while it is read, for ever.
  while line=; IFS= read -r line || [ -n "$line" ]; do
    case $line in *"$nonce"*) leader=${dir#/proc/}; break 2 ;; esac
  done 2>/dev/null <"$dir/cmdline"
done
[ -n "$leader" ] || { echo gone; exit 0; }

# A stat line's second field may hold spaces, newlines and parentheses: count from the last one.
fields() {
  stat=
  while IFS= read -r line || [ -n "$line" ]; do stat=$stat$line; line=; done <"/proc/$1/stat" || return
  set -- ${stat##*) }
  state=$1 parent=$2 group=$3 session=$4 front=$6
}

fields "$leader" 2>/dev/null || { echo gone; exit 0; }
ours=$session foreground=$front
