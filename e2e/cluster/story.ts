/** How a demonstration speaks: steps, commands as one would type them, what took how long. Plain text where it is no terminal. */
const colours = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
const paint = (code: number, text: string): string => (colours ? `\u001b[${code}m${text}\u001b[0m` : text);

let steps = 0;

export function step(title: string): void {
  steps += 1;
  console.log(`\n${paint(1, `${steps}. ${title}`)}`);
}

export function note(text: string): void {
  console.log(paint(2, indented(text)));
}

export function good(text: string): void {
  console.log(`  ${paint(32, `✓ ${text}`)}`);
}

export function closing(text: string): void {
  console.log(`\n${paint(1, text)}`);
}

/** Shows a command, carries it out, and shows of its words what `pick` takes. */
export async function show(
  command: string,
  action: () => Promise<string>,
  pick: (said: string) => string = (said) => said,
): Promise<string> {
  console.log(paint(2, `  $ ${command}`));
  const began = performance.now();
  const said = await action();
  const shown = pick(said).trim();
  if (shown !== '') console.log(indented(shown));
  console.log(paint(2, `  (${seconds(began)})`));
  return said;
}

export function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}

function indented(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}
