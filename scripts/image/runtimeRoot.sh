#!/bin/sh
# Copies what the image needs at run time out of its base image: Node.js, bash, coreutils and the packages they depend on. npm,
# yarn, corepack, apt, perl and all setuid programs stay behind. Of a base that is not Debian, everything but the package
# managers of Node.js is copied.
# Usage: runtimeRoot.sh BASE FOLDER
set -eu
base=$1 root=$2 lists=/tmp/files
mkdir -p "$root"

if [ ! -e "$base/var/lib/dpkg/status" ] || [ ! -x "$base/usr/local/bin/node" ]; then
  tar -C "$base" --exclude='./usr/local/lib/node_modules' --exclude='./opt/yarn*' --exclude='./usr/local/include' \
    --exclude='./usr/local/bin/npm' --exclude='./usr/local/bin/npx' --exclude='./usr/local/bin/yarn*' \
    --exclude='./usr/local/bin/corepack' --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' -cf - . | tar -C "$root" -xpf -
else
  # The closure of Depends and Pre-Depends over the installed packages; of alternatives, those that are installed.
  packages=$(awk -v want='base-files bash coreutils dash libc6 libstdc++6 libgcc-s1 libatomic1 ca-certificates' '
    /^Package: / { name = $2; known[name] = 1 }
    /^(Pre-)?Depends: / {
      sub(/^[^:]*: /, ""); gsub(/\([^)]*\)|:[a-z0-9]+/, ""); gsub(/[,|]/, " ")
      needs[name] = needs[name] " " $0
    }
    END {
      count = split(want, queue, " ")
      # The scripts of these packages need debconf, openssl and awk, and nothing runs them in the image.
      skip["debconf"] = skip["debconf-2.0"] = skip["openssl"] = skip["awk"] = skip["mawk"] = skip["debianutils"] = skip["dpkg"] = 1
      for (i = 1; i <= count; i++) {
        package = queue[i]
        if (seen[package]++ || skip[package] || !known[package]) continue
        print package
        n = split(needs[package], more, " ")
        for (j = 1; j <= n; j++) queue[++count] = more[j]
      }
    }' "$base/var/lib/dpkg/status" | LC_ALL=C sort)

  # In a merged /usr, /bin is a link, and dpkg lists /bin/bash.
  merged=''
  [ ! -L "$base/bin" ] || merged='s#^/\(bin\|sbin\|lib\|lib32\|lib64\|libx32\)/#/usr/\1/#'
  mkdir -p "$root/var/lib/dpkg/status.d"
  for package in $packages; do
    for list in "$base/var/lib/dpkg/info/$package.list" "$base/var/lib/dpkg/info/$package":*.list; do
      [ ! -e "$list" ] || sed -e "$merged" "$list"
    done
    # The form in which scanners find the packages of an image without dpkg.
    awk -v RS= -v ORS='\n\n' -v package="$package" '$0 ~ "(^|\n)Package: " && $2 == package' "$base/var/lib/dpkg/status" \
      >"$root/var/lib/dpkg/status.d/$package"
  done >"$lists"
  printf '%s\n' /bin /sbin /lib /lib32 /lib64 /libx32 /usr/bin/sh /bin/sh /usr/local /usr/local/bin /usr/local/bin/node /usr/local/LICENSE \
    /etc /etc/passwd /etc/group /etc/nsswitch.conf /etc/ssl /etc/ssl/certs /etc/ssl/certs/ca-certificates.crt /tmp /var/tmp >>"$lists"
  # The program loader: its path is part of every program, and differs by architecture.
  (cd "$base" && ls -d lib*/ld-*.so.* lib/*/ld-*.so.* usr/lib*/ld-*.so.* usr/lib/*/ld-*.so.* 2>/dev/null || true) | sed 's#^#/#' | sed -e "$merged" >>"$lists"
  [ -z "$merged" ] || sed -i '\#^/bin/sh$#d' "$lists"
  grep -Ev '^/usr/share/(man|info|locale|lintian|bash-completion|menu|doc-base|ca-certificates|debianutils|bug)(/|$)|/gconv(/|$)|^/usr/share/doc/.*/[^c][^/]*$|^/etc/(cron|apt|init)|^/\.$|/bashbug$|/clear_console$|/update-ca-certificates$' "$lists" |
    LC_ALL=C sort -u | while IFS= read -r path; do
    if [ -e "$base$path" ] || [ -L "$base$path" ]; then printf '.%s\n' "$path"; fi
  done >"$lists.found"
  tar -C "$base" --no-recursion -T "$lists.found" -cf - | tar -C "$root" -xpf -
fi

# No setuid or setgid program, and one time for all folders, so that the same base gives the same layer.
find "$root" -xdev -type f -perm /6000 -exec chmod ug-s {} +
chmod 1777 "$root/tmp"
find "$root" -xdev -newermt '1980-01-01 UTC' -path "$root/var/lib/dpkg/status.d/*" -exec touch -d 1980-01-01T00:00:00Z {} +
find "$root" -xdev -type d -exec touch -d 1980-01-01T00:00:00Z {} +
