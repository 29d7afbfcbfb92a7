/** A column: its heading, and whether it is a number (then it is set flush right). */
export interface Column {
  readonly heading: string;
  readonly right?: boolean;
}

/**
 * Lays rows out under their headings, two spaces between columns. A column that is empty in every row is left out, so a
 * list never shows headings over nothing. Answers with lines, without a newline at their ends.
 */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const shown = columns
    .map((column, at) => ({ ...column, at }))
    .filter(({ at }) => rows.length === 0 || rows.some((row) => (row[at] ?? '') !== ''));
  const widths = shown.map(({ heading, at }) =>
    Math.max(displayWidth(heading), ...rows.map((row) => displayWidth(row[at] ?? ''))),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => pad(cell, widths[i] ?? 0, shown[i]?.right === true))
      .join('  ')
      .trimEnd();
  return [
    line(shown.map(({ heading }) => heading)),
    '-'.repeat(widths.reduce((sum, width) => sum + width, 2 * Math.max(0, widths.length - 1))),
    ...rows.map((row) => line(shown.map(({ at }) => row[at] ?? ''))),
  ];
}

/** Pairs as `Key:    value` lines with the values under each other. */
export function formatFields(fields: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(0, ...fields.map(([key]) => displayWidth(key)));
  return fields.map(([key, value]) => `${pad(`${key}:`, width + 1, false)} ${value}`);
}

/** Terminal cells, well enough for names: code points, not UTF-16 units. */
function displayWidth(text: string): number {
  return Array.from(text).length;
}

function pad(text: string, width: number, right: boolean): string {
  const fill = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return right ? fill + text : text + fill;
}
