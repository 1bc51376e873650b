// A model of one idea, for the tests: it answers a message "CALL tool {json}" with that tool call,
// and the tool's result with "RESULT: " and the result. It speaks OpenAI's chat completions.
import { createServer } from "node:http";

createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => answer(request, body, response));
}).listen(9876, "127.0.0.1");

function answer(request, body, response) {
  if (request.method === "GET") {
    return response.end(JSON.stringify({ object: "list", data: [{ id: "one", object: "model" }] }));
  }
  const { messages = [], stream } = JSON.parse(body);
  const message = reply(messages);
  const finish_reason = message.tool_calls ? "tool_calls" : "stop";
  const head = { id: "x", created: 1, model: "one" };
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
  if (!stream) {
    response.setHeader("content-type", "application/json");
    const choices = [{ index: 0, message, finish_reason }];
    return response.end(JSON.stringify({ ...head, object: "chat.completion", choices, usage }));
  }
  response.setHeader("content-type", "text/event-stream");
  const send = (choices, more) =>
    response.write(`data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", choices, ...more })}\n\n`);
  const tool_calls = message.tool_calls?.map((call, index) => ({ index, ...call }));
  send([{ index: 0, delta: { ...message, ...(tool_calls && { tool_calls }) }, finish_reason: null }]);
  send([{ index: 0, delta: {}, finish_reason }]);
  send([], { usage });
  response.end("data: [DONE]\n\n");
}

// The newest of the two counts: OpenClaw may put notes of its own behind a message.
function reply(messages) {
  for (const { role, content } of messages.toReversed()) {
    if (role === "tool") return { role: "assistant", content: `RESULT: ${text(content)}` };
    const [, name, json] = (role === "user" && /CALL (\w+) (\{.*\})/s.exec(text(content))) || [];
    if (!name) continue;
    const call = { id: `call_${messages.length}`, type: "function", function: { name, arguments: json } };
    return { role: "assistant", content: null, tool_calls: [call] };
  }
  return { role: "assistant", content: "nothing to do" };
}

function text(content) {
  if (typeof content === "string") return content;
  return (content ?? []).map((part) => part.text ?? "").join("");
}
