#!/usr/bin/env bash
# The image's `curl`, for health checks that others wrote. What they ask for (a GET over plain http, -s -S -f -o) bash does
# by itself in a few milliseconds; a Node process would take 60 ms and 45 MB for each, out of half a core and 256 MiB.
# Everything else goes to curl.ts.
everything=("$@")
leave_to_node() { exec node "${BASH_SOURCE[0]%/*}/../dist/scripts/image/curl.js" "${everything[@]}"; }
fail() {
  [[ -n $silent && -z $show_errors ]] || echo "curl: ($1) $2" >&2
  exit "$1"
}

silent='' show_errors='' fail_on_status='' output='' url=''
while (($# > 0)); do
  case $1 in
  --silent) silent=1 ;;
  --show-error) show_errors=1 ;;
  --fail) fail_on_status=1 ;;
  -o | --output)
    (($# > 1)) && [[ $2 != - ]] || leave_to_node
    output=$2
    shift
    ;;
  - | -*[!sSf]*) leave_to_node ;;
  -*)
    [[ $1 != *s* ]] || silent=1
    [[ $1 != *S* ]] || show_errors=1
    [[ $1 != *f* ]] || fail_on_status=1
    ;;
  *)
    [[ -z $url ]] || leave_to_node
    url=$1
    ;;
  esac
  shift
done

form='^(http://)?([A-Za-z0-9.-]+)(:([0-9]{1,5}))?(/[!-"$-~]*)?$'
[[ $url =~ $form ]] || leave_to_node
host=${BASH_REMATCH[2]} port=${BASH_REMATCH[4]:-80} path=${BASH_REMATCH[5]:-/}

{ exec 3<>"/dev/tcp/$host/$port"; } 2>/dev/null || fail 7 "Failed to connect to $host port $port"
# HTTP/1.0: the answer ends where the connection does, and is not chunked.
printf 'GET %s HTTP/1.0\r\nHost: %s:%s\r\nUser-Agent: curl/8 (plugin-mirror)\r\nAccept: */*\r\n\r\n' "$path" "$host" "$port" >&3
IFS=' ' read -r protocol status _ <&3 || fail 52 'Empty reply from server'
[[ $protocol == HTTP/1.* && $status =~ ^[1-5][0-9][0-9] ]] || fail 1 'Received an answer that is not HTTP'
while IFS= read -r line <&3 && [[ -n ${line%$'\r'} ]]; do :; done
((${status:0:3} < 400)) || [[ -z $fail_on_status ]] || fail 22 "The requested URL returned error: ${status:0:3}"
[[ -z $output ]] || { exec >"$output"; } 2>/dev/null || fail 23 "Failed to open $output"
cat <&3 || fail 23 'Failed writing body'
