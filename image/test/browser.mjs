// A browser behind Pomerium's web route, for the tests: it comes with Pomerium's headers and a
// device key of its own, as OpenClaw's web page does, and prints the gateway's answer.
//
//   node browser.mjs KEY ORIGIN [HEADER=VALUE…]     KEY is made where it is missing
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

const [file, origin, ...headers] = process.argv.slice(2);
if (!existsSync(file)) {
  const { privateKey } = generateKeyPairSync("ed25519");
  writeFileSync(file, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
}
const privateKey = createPrivateKey(readFileSync(file));
const publicKey = createPublicKey(privateKey).export({ format: "jwk" }).x;
const id = createHash("sha256").update(Buffer.from(publicKey, "base64url")).digest("hex");

const client = { id: "openclaw-control-ui", version: "test", platform: "web", mode: "webchat" };
const [role, scopes] = ["operator", ["operator.read", "operator.write"]];
const socket = new WebSocket("ws://openclaw-gateway:18789/", {
  headers: { origin, ...Object.fromEntries(headers.map((header) => header.split("="))) },
});
const give = (answer) => (console.log(JSON.stringify(answer)), process.exit(0));
setTimeout(() => give({ error: "no answer" }), 20_000);
socket.onerror = (event) => give({ error: event.message ?? event.error?.message ?? "refused" });
socket.onclose = ({ code, reason }) => give({ closed: code, reason });
socket.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  if (message.event === "connect.challenge") connect(message.payload);
  if (message.type === "res") give({ device: id, ok: message.ok, error: message.error?.message, details: message.error?.details });
};

function connect({ nonce, ts }) {
  const signed = ["v2", id, client.id, client.mode, role, scopes.join(","), ts, "", nonce].join("|");
  const signature = sign(null, Buffer.from(signed), privateKey).toString("base64url");
  const device = { id, publicKey, signature, signedAt: ts, nonce };
  const params = { minProtocol: 4, maxProtocol: 4, client, role, scopes, device };
  socket.send(JSON.stringify({ type: "req", id: "1", method: "connect", params }));
}
