/** What a route wants to say; nothing is on the wire yet, so a fault can still change it. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: Buffer;
}

export function answer(status: number, headers: Answer['headers'] = {}, body?: Buffer): Answer {
  return { status, headers, ...(body === undefined ? {} : { body }) };
}

export function answerJson(status: number, value: unknown, headers: Answer['headers'] = {}): Answer {
  return answer(status, { 'content-type': 'application/json', ...headers }, Buffer.from(JSON.stringify(value)));
}

/** distribution-spec, Error Codes. */
export function answerError(
  status: number,
  code: string,
  message: string,
  detail: unknown = null,
  headers: Answer['headers'] = {},
): Answer {
  return answerJson(status, { errors: [{ code, message, detail }] }, headers);
}
