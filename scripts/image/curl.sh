#!/usr/bin/env bash
# The image's `curl`: a GET over plain http with -s, -S, -f and -o, which is what the health checks of others use
# (higress-standalone: `curl -sf http://127.0.0.1:8080/`). Slim Node images have no curl, and installing one would need
# Debian's archive in every build. Exit codes are those of curl. For HTTPS use the image's `health`.
fail() {
  [[ -n $silent && -z $show_errors ]] || echo "curl: ($1) $2" >&2
  exit "$1"
}
usage() {
  silent='' fail 2 "$1; the curl of this image knows only: curl [-s] [-S] [-f] [-o FILE] http://HOST[:PORT][/PATH]"
}

silent='' show_errors='' fail_on_status='' output='' url=''
while (($# > 0)); do
  case $1 in
  --silent) silent=1 ;;
  --show-error) show_errors=1 ;;
  --fail) fail_on_status=1 ;;
  -o | --output)
    (($# > 1)) || usage "option $1 needs a file"
    output=$2
    shift
    ;;
  - | --* | -*[!sSf]*) usage "option $1 is not supported" ;;
  -*)
    [[ $1 != *s* ]] || silent=1
    [[ $1 != *S* ]] || show_errors=1
    [[ $1 != *f* ]] || fail_on_status=1
    ;;
  *)
    [[ -z $url ]] || usage 'more than one URL'
    url=$1
    ;;
  esac
  shift
done

form='^(http://)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:([0-9]{1,5}))?(/[!-"$-~]*)?$'
[[ -n $url ]] || usage 'no URL'
[[ $url =~ $form ]] || usage "URL $url is not supported"
host=${BASH_REMATCH[2]} port=${BASH_REMATCH[4]:-80} path=${BASH_REMATCH[5]:-/}

address=${host#\[} address=${address%\]}
{ exec 3<>"/dev/tcp/$address/$port"; } 2>/dev/null || fail 7 "Failed to connect to $host port $port"
# HTTP/1.0: the answer ends with the connection and is not chunked.
printf 'GET %s HTTP/1.0\r\nHost: %s:%s\r\nUser-Agent: curl/8 (plugin-mirror)\r\nAccept: */*\r\n\r\n' "$path" "$host" "$port" >&3
IFS=' ' read -r protocol status _ <&3 || fail 52 'Empty reply from server'
[[ $protocol == HTTP/1.* && $status =~ ^[1-5][0-9][0-9] ]] || fail 1 'Received an answer that is not HTTP'
while IFS= read -r line <&3 && [[ -n ${line%$'\r'} ]]; do :; done
((${status:0:3} < 400)) || [[ -z $fail_on_status ]] || fail 22 "The requested URL returned error: ${status:0:3}"
[[ -z $output || $output == - ]] || { exec >"$output"; } 2>/dev/null || fail 23 "Failed to open $output"
cat <&3 || fail 23 'Failed writing body'
