/** What goes into an archive: a folder, a link's target, or a file's bytes with its mode. */
export type Entry =
  | { readonly path: string; readonly kind: 'folder' }
  | { readonly path: string; readonly kind: 'link'; readonly target: string }
  | { readonly path: string; readonly kind: 'file'; readonly bytes: Uint8Array };

const MODES = { folder: 0o040755, link: 0o120777, file: 0o100755 };

/** A cpio archive in the `newc` form that the kernel unpacks as its first root (Documentation/driver-api/early-userspace). */
export function cpio(entries: readonly Entry[]): Buffer {
  const parts = entries.map((entry, index) =>
    member(entry.path, MODES[entry.kind], content(entry), index + 1),
  );
  return Buffer.concat([...parts, member('TRAILER!!!', 0, new Uint8Array(), 0)]);
}

function content(entry: Entry): Uint8Array {
  switch (entry.kind) {
    case 'folder':
      return new Uint8Array();
    case 'link':
      return Buffer.from(entry.target);
    case 'file':
      return entry.bytes;
  }
}

/** Thirteen numbers of eight hexadecimal digits, the name and the content, each padded to four bytes. */
function member(path: string, mode: number, bytes: Uint8Array, inode: number): Buffer {
  const name = Buffer.from(`${path}\0`);
  const [user, group, links, time, device] = [0, 0, 1, 0, 0];
  const fields = [inode, mode, user, group, links, time, bytes.length, device, device, device, device];
  const numbers = [...fields, name.length, 0].map((value) => value.toString(16).padStart(8, '0'));
  const head = padded(Buffer.concat([Buffer.from(`070701${numbers.join('')}`), name]));
  return Buffer.concat([head, padded(bytes)]);
}

function padded(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
