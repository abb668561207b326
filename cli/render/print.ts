import process from 'node:process';
import type { WriteStream } from 'node:tty';
import { printable, printableJson, printableJsonText, printableLines } from '../../base/printable.ts';
import type { RegistryEvent } from '../../registry/registry.ts';
import { wantsColor } from './colors.ts';
import { wrapFor } from './wrap.ts';

// All output of the command line goes through these functions. They keep line breaks and colours; text from outside has to
// pass through printable or printableValue before it becomes a part of a line.

/** Prints lines on stdout. */
export function print(text: string): void {
  printTo(process.stdout, text);
}

/** Prints lines for people, which are broken between words on a terminal. Not for anything that is copied or parsed. */
export function printText(text: string, stream: WriteStream = process.stdout): void {
  stream.write(wrapFor(stream, printableLines(text, wantsColor(stream))));
}

/** Prints lines for people on stderr, which are broken between words on a terminal. */
export function printError(text: string): void {
  printText(text, process.stderr);
}

/** Prints a line of JSON on stderr. */
export function printLogLine(value: unknown): void {
  printTo(process.stderr, `${printableJson(value, 0)}\n`);
}

export function printTo(stream: WriteStream, text: string): void {
  stream.write(printableLines(text, wantsColor(stream)));
}

/** Prints workflow commands of GitHub Actions on stderr, as they are. Their values must have been escaped for them. */
export function printCommands(text: string): void {
  process.stderr.write(text);
}

/** Prints a value as JSON on stdout. */
export function printJson(value: unknown): void {
  process.stdout.write(`${printableJson(value)}\n`);
}

/** Prints a JSON document on stdout as it is laid out. */
export function printJsonText(text: string): void {
  process.stdout.write(printableJsonText(text));
}

/** Returns a listener that prints each warning of a registry once, on stderr. */
export function warningPrinter(): (event: { readonly type: string }) => void {
  const printed = new Set<string>();
  return event => {
    if (!isWarning(event)) return;
    const line = printable(`warning: ${event.subject}: ${event.message}`);
    if (printed.has(line)) return;
    printed.add(line);
    printError(`${line}\n`);
  };
}

type Warning = Extract<RegistryEvent, { type: 'warning' }>;

function isWarning(event: { readonly type: string }): event is Warning {
  return event.type === 'warning';
}
