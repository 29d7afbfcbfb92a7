/** A part of an image that changed. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
  /** Whether there may be data; else it is zeros. */
  readonly exists: boolean;
}

/**
 * Lists of extents, in any order and overlapping, as one that ascends: what exists in any of them exists, what is zero in one
 * and not said by another is zero. All is cut at the image's end.
 */
export function mergeExtents(extents: readonly Extent[], imageBytes: number): Extent[] {
  const data = union(extents.filter(({ exists }) => exists));
  const zeros = union(extents.filter(({ exists }) => !exists));
  const merged: Extent[] = data.map((extent) => ({ ...extent, exists: true }));
  let next = 0;
  for (const zero of zeros) {
    let from = zero.offset;
    const end = zero.offset + zero.length;
    while (next < data.length && endOf(data[next]) <= from) next++;
    for (let i = next; i < data.length; i++) {
      const { offset, length } = data[i] ?? zero;
      if (offset >= end) break;
      if (offset > from) merged.push({ offset: from, length: offset - from, exists: false });
      from = Math.max(from, offset + length);
    }
    if (from < end) merged.push({ offset: from, length: end - from, exists: false });
  }
  return merged
    .map((extent) => ({ ...extent, length: Math.min(extent.length, imageBytes - extent.offset) }))
    .filter(({ length }) => length > 0)
    .sort((a, b) => a.offset - b.offset);
}

interface Span {
  readonly offset: number;
  readonly length: number;
}

/** Ascending, not touching. */
function union(extents: readonly Span[]): Span[] {
  const spans: { offset: number; length: number }[] = [];
  for (const { offset, length } of [...extents].sort((a, b) => a.offset - b.offset)) {
    if (length <= 0) continue;
    const last = spans.at(-1);
    if (last !== undefined && offset <= last.offset + last.length)
      last.length = Math.max(last.length, offset + length - last.offset);
    else spans.push({ offset, length });
  }
  return spans;
}

function endOf(span: Span | undefined): number {
  return span === undefined ? 0 : span.offset + span.length;
}
