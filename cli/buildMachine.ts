/** True where CI is set to anything but an empty value, 0, false, no or off, as the build services have it. */
export function isBuildMachine({ CI = '' }: Readonly<Record<string, string | undefined>>): boolean {
  return !/^(?:|0|false|no|off)$/i.test(CI);
}
