import { printableValue } from '../../base/printable.ts';
import { openLayout } from '../../layout/openLayout.ts';
import { type ToolCommands, toolCommands } from '../../mirror/bundle/toolCommands.ts';
import { print } from '../render/print.ts';

/** Runs `plugin-mirror bundle commands`. */
export async function runBundleCommands(bundle: string): Promise<void> {
  print(commandsText(printableValue(await commandsOf(bundle))));
}

/** The commands of other tools for a bundle. @throws as openLayout */
export async function commandsOf(path: string): Promise<readonly ToolCommands[]> {
  const layout = await openLayout(path);
  try {
    return await toolCommands(layout);
  } finally {
    await layout.close();
  }
}

/** A script: the commands, with a comment above those of each tool. */
export function commandsText(tools: readonly ToolCommands[]): string {
  return tools
    .map(({ tool, about, commands }) => [`# ${tool}: ${about}`, ...commands].map(line => `${line}\n`).join(''))
    .join('\n');
}
