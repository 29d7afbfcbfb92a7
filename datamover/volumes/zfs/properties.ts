/** Of recorded properties those that somebody had set, as `zfs` takes them. */
export function carried(properties: unknown, names: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  if (typeof properties !== 'object' || properties === null) return found;
  const known = properties as Partial<Record<string, unknown>>;
  for (const name of names) {
    const property = known[name];
    if (typeof property !== 'object' || property === null) continue;
    const { value, source } = property as { value?: unknown; source?: unknown };
    const isSet = source === 'local' || source === 'received';
    if (isSet && typeof value === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(value)) found[name] = value;
  }
  return found;
}
