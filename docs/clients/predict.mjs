// Node 18 or newer, without packages: node predict.mjs http://127.0.0.1:8080 picture.png
// MNIST_TOKEN is the token, if the server requires one.

import { readFile } from "node:fs/promises";

const TIMEOUT_MS = 30_000;

/** The server's answer to a picture file. Throws an Error with the server's message, or fetch's own error. */
export async function ask(url, picture, token) {
  const response = await fetch(`${url}/predictions/mnist`, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream", ...(token && { Authorization: `Bearer ${token}` }) },
    body: picture,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message);
  return answer;
}

const [url, path] = process.argv.slice(2);
try {
  console.log(JSON.stringify(await ask(url, await readFile(path), process.env.MNIST_TOKEN)));
} catch (error) {
  console.error(`error: ${error.cause?.message ?? error.message}`);
  process.exitCode = 1;
}
