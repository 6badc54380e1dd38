# Says what runs in this pod, before and after $1 seconds, with nothing but a shell and sleep.
echo "self $$"
look() {
	read -r up _ </proc/uptime && echo "up $up"
	for file in /proc/[0-9]*/stat; do
		line=
		# A process may have a newline in its name.
		while read -r part; do line="$line$part "; done <"$file"
		[ -n "$line" ] && echo "$line"
	done
	if command -v nvidia-smi >/dev/null; then
		used=$(nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits) || used=unknown
		echo gpu $used
	fi
} 2>/dev/null
look
sleep "$1"
look
echo end
