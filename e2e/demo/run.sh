#!/usr/bin/env bash
# A disk with a real filesystem goes into a repository and comes back, in front of your eyes and without any server.
# KEEP=1 leaves the folder for a look around. NO_COLOR and a pipe give plain text.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# mke2fs and debugfs are in /sbin, which is not on everybody's PATH.
export PATH=$root/bin:$PATH:/usr/sbin:/sbin
SIZE_MIB=256

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$(printf '\033[1m') dim=$(printf '\033[2m') green=$(printf '\033[32m') plain=$(printf '\033[0m')
else
  bold='' dim='' green='' plain=''
fi

step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
note() { printf '%s  %s%s\n' "$dim" "$*" "$plain"; }
good() { printf '  %s✓ %s%s\n' "$green" "$*" "$plain"; }
stop() { printf 'demo: %s\n' "$*" >&2; exit 1; }
# Prints a command as you would type it, then runs it.
show() { printf '%s  $ %s%s\n' "$dim" "$*" "$plain"; "$@" | sed 's/^/  /'; }
hash_of() { sha256sum "$1" | cut -d' ' -f1; }
bytes_in() { du -sb "$1" | cut -f1; }
human() { numfmt --to=iec-i --suffix=B --format='%.1f' "$1" | sed 's/[KMGi]*B$/ &/'; }
size_of() { human "$(stat -c %s "$1")"; }

for tool in mke2fs debugfs e2fsck; do
  command -v "$tool" > /dev/null || stop "$tool is missing: install the package e2fsprogs"
done

here=$(mktemp -d "${TMPDIR:-/tmp}/datamover-demo.XXXXXX")
finish() {
  if [ -n "${KEEP:-}" ]; then note "everything is still in $here"; else rm -rf "$here"; fi
}
trap finish EXIT
cd "$here"
# Nothing of your own settings finds its way in here.
unset "${!RESTIC_@}" "${!AWS_@}"
started=$SECONDS

step "1. A disk: $SIZE_MIB MiB, ext4, with files on it"
mkdir -p files/database files/logs files/home
head -c 48M /dev/urandom > files/database/table-1
head -c 12M /dev/urandom > files/home/holiday.jpg
seq -f '2026-11-20T12:00:00Z service answered request %012.0f in 12 ms' 1 300000 > files/logs/service.log
printf 'Remember the milk.\n' > files/home/note.txt
mke2fs -q -F -t ext4 -L demo -d files disk.img "${SIZE_MIB}M" > mke2fs.log
note "a database ($(size_of files/database/table-1)), a photo ($(size_of files/home/holiday.jpg)), a log ($(size_of files/logs/service.log)) and a note; the rest is empty"

step '2. A repository: a folder here, a bucket in real life (s3:https://host/bucket/prefix)'
head -c 24 /dev/urandom | base64 > password
export RESTIC_REPOSITORY=$here/repo RESTIC_PASSWORD_FILE=$here/password
note 'RESTIC_REPOSITORY and RESTIC_PASSWORD_FILE say where and with which password, as for restic'
show datamover init

step '3. The first backup'
show datamover backup file:disk.img --volume shop/database
first=$(bytes_in repo)
good "$SIZE_MIB MiB of disk became $(human "$first") in the repository: text is compressed, empty blocks are not stored at all"

step '4. Life goes on: the note changes, an invoice is new, the log is deleted'
note 'debugfs writes into the filesystem as it lies on the disk; nothing is mounted, no root is needed'
printf 'Remember the milk. And the bread.\n' > note.txt
head -c 300K /dev/urandom > invoice.pdf
debugfs -w -f /dev/stdin disk.img > debugfs.log 2>&1 <<'COMMANDS'
rm /home/note.txt
write note.txt /home/note.txt
write invoice.pdf /home/invoice.pdf
rm /logs/service.log
COMMANDS
e2fsck -fn disk.img > e2fsck.log 2>&1 || stop "the changed disk is not clean: $(tail -1 e2fsck.log)"
before=$(hash_of disk.img)
note "sha256 of the disk now: $before"

step '5. The second backup: whole again, yet only what changed is stored'
show datamover backup file:disk.img --volume shop/database
second=$(($(bytes_in repo) - first))
good "the repository grew by $(human "$second"): $(awk "BEGIN { printf \"%.1f\", 100 * $second / ($SIZE_MIB * 1048576) }") % of the disk for a second whole backup"

step '6. Disaster'
show rm -v disk.img

step '7. Back again'
show datamover restore latest --volume shop/database --to file:disk.img --verify
after=$(hash_of disk.img)
[ "$before" = "$after" ] || stop "the restored disk differs: $before became $after"
good "sha256 $after: the same, byte for byte"
e2fsck -fn disk.img > e2fsck.log 2>&1 || stop "the restored filesystem is not clean: $(tail -1 e2fsck.log)"
debugfs -R 'cat /home/note.txt' disk.img 2> debugfs.log | grep -q bread || stop 'the changed note did not come back'
good 'the filesystem is clean, and the note still says to bring bread'

step '8. What the repository holds'
show datamover snapshots
show datamover check --read-data

step '9. No lock-in: restic reads all of it without us'
if command -v restic > /dev/null; then
  note "$(restic version | cut -d' ' -f1,2)"
  show restic check --no-cache --read-data
  show restic restore latest --no-cache --target by-restic
  # A volume lies in segments of 1 GiB; put together they are the disk.
  theirs=$(cat by-restic/image/*/data | sha256sum | cut -d' ' -f1)
  [ "$before" = "$theirs" ] || stop "restic restored something else: $theirs"
  good "sha256 $theirs: restic brought back the same disk"
else
  note "restic is not installed here, so this step is left out (Debian: apt install restic)"
fi

step "Done: $SIZE_MIB MiB there and back, unharmed, in $((SECONDS - started)) seconds."
note 'Next: README.md for buckets, datamover --help for the verbs'
