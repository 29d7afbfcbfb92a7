import { DatamoverError } from '../../errors.ts';

/** An image or, with `snap`, one moment of it. */
export interface ImageName {
  readonly pool: string;
  /** A namespace of the pool; undefined for the default one. */
  readonly namespace?: string;
  readonly image: string;
  readonly snap?: string;
}

/**
 * Narrower than Ceph, which takes almost any bytes: what Kubernetes, ceph-csi and backup scripts make (times with `:` and `+`
 * too), and nothing that `rbd` could take for an option, a path or a specification of its own.
 */
const NAME = /^[A-Za-z0-9_.][A-Za-z0-9_.:+-]{0,254}$/;
const RULE = 'letters, digits and . _ : + - make a name, and it does not begin with a dash, : or +';

/** Reads `pool/[namespace/]image[@snap]`, rbd's own spelling. Throws for anything else. */
export function parseImageName(text: string): ImageName {
  const [path = '', snap, ...more] = text.split('@');
  const parts = path.split('/');
  const [pool, image] = [parts[0], parts.at(-1)];
  if (more.length > 0 || parts.length < 2 || parts.length > 3 || pool === undefined || image === undefined)
    throw unnamed(text, 'it is not of the form pool/image, pool/namespace/image or pool/image@snap');
  const namespace = parts.length === 3 ? parts[1] : undefined;
  return checkImageName({
    pool,
    image,
    ...(namespace === undefined ? {} : { namespace }),
    ...(snap === undefined ? {} : { snap }),
  });
}

/** Gives the name back if every part of it may reach a command; throws otherwise. */
export function checkImageName(name: ImageName): ImageName {
  for (const [part, value] of Object.entries(name) as [string, string][]) {
    if (!NAME.test(value))
      throw unnamed(formatImageName(name), `its ${part} is ${JSON.stringify(value)}`, RULE);
  }
  return name;
}

/** The image itself. */
export function withoutSnap({ pool, namespace, image }: ImageName): ImageName {
  return { pool, image, ...(namespace !== undefined && { namespace }) };
}

/** For people; commands get the parts one by one. */
export function formatImageName({ pool, namespace, image, snap }: ImageName): string {
  const path = namespace === undefined ? `${pool}/${image}` : `${pool}/${namespace}/${image}`;
  return snap === undefined ? path : `${path}@${snap}`;
}

/** Options of `rbd` that mean exactly this name, whatever characters it has. */
export function nameOptions({ pool, namespace, image, snap }: ImageName): string[] {
  const options = ['--pool', pool, '--image', image];
  if (namespace !== undefined) options.push('--namespace', namespace);
  if (snap !== undefined) options.push('--snap', snap);
  return options;
}

function unnamed(subject: string, cause: string, hint?: string): DatamoverError {
  return new DatamoverError({
    operation: 'name rbd image',
    subject: JSON.stringify(subject),
    cause,
    kind: 'usage',
    ...(hint === undefined ? {} : { hint }),
  });
}
