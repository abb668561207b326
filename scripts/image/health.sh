#!/usr/bin/env bash
# The image's health check: is the server in this container ready? The address and port are read from the server's command line
# (proc_pid_cmdline(5)), because Docker does not pass it to health checks; the environment is the same for both.
host=${PLUGIN_MIRROR_HOST:-} port=${PLUGIN_MIRROR_PORT:-} certificate=${PLUGIN_MIRROR_TLS_CERT:-}

for line in "${HEALTH_PROC:-/proc}"/[0-9]*/cmdline; do
  mapfile -d '' -t words <"$line" || continue
  at=0
  while ((at < ${#words[@]})) && [[ ${words[at]} != */plugin-mirror && ${words[at]} != */main.js ]]; do ((at += 1)); done
  [[ ${words[at + 1]:-} == serve ]] || continue
  for ((at += 2; at < ${#words[@]}; at += 1)); do
    case ${words[at]} in
    --host | --port | --tls-cert) name=${words[at]} value=${words[at += 1]:-} ;;
    --host=* | --port=* | --tls-cert=*) name=${words[at]%%=*} value=${words[at]#*=} ;;
    *) continue ;;
    esac
    case $name in
    --host) host=$value ;;
    --port) port=$value ;;
    *) certificate=$value ;;
    esac
  done
  break
done 2>/dev/null

# As serve does: Kubernetes sets the variable to tcp://… for a Service called plugin-mirror.
[[ $port =~ ^[0-9]+$ ]] || port=8080
case $host in
'' | 0.0.0.0 | :: | '[::]') host=127.0.0.1 ;;
*:*) [[ $host == \[* ]] || host="[$host]" ;;
esac

[[ -n $certificate ]] || exec "${BASH_SOURCE[0]%/*}/curl" -sSf -o /dev/null "http://$host:$port/readyz"
# The certificate is for the name that clients use, which loopback cannot match; the address identifies the server.
exec node -e '
const asking = require("node:https").get(process.argv[1], { rejectUnauthorized: false, timeout: 4000 }, answer => process.exit(answer.statusCode === 200 ? 0 : 22));
asking.on("timeout", () => asking.destroy(new Error("no answer within 4 s"))).on("error", error => { console.error(error.message); process.exit(7); });
' "https://$host:$port/readyz"
