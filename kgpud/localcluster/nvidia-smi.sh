#!/bin/sh
# A SIMULATED nvidia-smi: this pod runs on a simulated node, there is no GPU behind it.
gpus=@GPUS@

each() { # each GPU as: index name uuid, through the function named in $1
	i=0
	printf '%s' "$gpus" | while IFS='|' read -r name uuid; do
		"$1" "$i" "$name" "$uuid"
		i=$((i + 1))
	done
}
listed() { printf 'GPU %s: %s (UUID: %s)\n' "$1" "$2" "$3"; }
row() {
	printf '| %3s  %-40s %-28s|\n' "$1" "$2" "0%   0MiB   (simulated)"
}
field() {
	out=
	for f in $fields; do
		case $f in
		index) v=$1 ;;
		name | gpu_name) v=$2 ;;
		uuid | gpu_uuid) v=$3 ;;
		count) v=$(printf '%s' "$gpus" | grep -c .) ;;
		driver_version) v=simulated ;;
		utilization.gpu | utilization.memory) v="0$percent" ;;
		memory.used | memory.total | memory.free) v="0$mib" ;;
		*) v="[Not Supported]" ;;
		esac
		out="${out:+$out, }$v"
	done
	printf '%s\n' "$out"
}

if [ -z "$gpus" ]; then
	echo "No devices were found"
	exit 6
fi
fields= percent=" %" mib=" MiB" header=1 list=
for arg in "$@"; do
	case $arg in
	-L | --list-gpus) list=1 ;;
	--query-gpu=*) fields=$(printf '%s' "${arg#*=}" | tr ',' ' ') ;;
	--format=*)
		case $arg in *nounits*) percent= mib= ;; esac
		case $arg in *noheader*) header= ;; esac
		;;
	esac
done
if [ -n "$list" ]; then
	each listed
elif [ -n "$fields" ]; then
	[ -n "$header" ] && printf '%s\n' "$fields" | sed 's/ /, /g'
	each field
else
	line="+---------------------------------------------------------------------------+"
	echo "$line"
	echo "| SIMULATED nvidia-smi: no real GPU stands behind this pod                  |"
	echo "$line"
	echo "| GPU  Name                                     Util Memory                 |"
	echo "$line"
	each row
	echo "$line"
	echo "| No running processes found                                                |"
	echo "$line"
fi
