/** The value of Allow, for whatever is served here. */
export const ALLOWED_METHODS = 'GET, HEAD, OPTIONS';
