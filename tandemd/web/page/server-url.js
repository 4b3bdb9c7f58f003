// URLs of the server that this page came from. A proxy may serve it below a path, so no URL begins with a slash.

const SERVER = new URL('../', import.meta.url);

export function serverUrl(path = '') {
  return new URL(path, SERVER).href;
}
