// A chat server with barge-in as one writes it by hand in an afternoon: `ws` and AbortController.
//
//     ANTHROPIC_API_KEY=… PORT=8720 node server.mjs
//
// The protocol is that of ../fastapi_server.py.  It keeps the history in memory and nothing else:
// no timeline, no resume, nothing after a restart.

import Anthropic from '@anthropic-ai/sdk'
import { WebSocketServer } from 'ws'

const model = process.env.MODEL ?? 'claude-sonnet-5-5'
const client = new Anthropic({ maxRetries: 0 })
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(process.env.PORT ?? 0),
  backlog: 2048,
  maxPayload: 64 * 1024,
})

class Conversation {
  history = []
  turn = 0
  running = null

  constructor(socket) {
    this.socket = socket
  }

  send(frame) {
    this.socket.send(JSON.stringify(frame))
  }

  take(text) {
    const frame = JSON.parse(text)
    if (frame.type === 'say') {
      this.stop()
      this.say(frame.id, frame.text)
    } else if (frame.type === 'interrupt') {
      if (!this.stop()) this.send({ type: 'idle', id: frame.id })
    } else {
      this.send({ type: 'error', message: `no such frame: ${frame.type}` })
    }
  }

  /** Stop the running turn, if there is one; once this returns no token of it is sent. */
  stop() {
    if (this.running === null) return false
    const { turn, abort } = this.running
    this.running = null
    abort.abort()
    this.send({ type: 'stopped', turn })
    return true
  }

  async say(id, text) {
    const running = { turn: ++this.turn, abort: new AbortController() }
    this.running = running
    this.history.push({ role: 'user', content: text })
    this.send({ type: 'started', id, turn: running.turn })
    const answer = { role: 'assistant', content: '' }
    try {
      const stream = await client.messages.create(
        { model, max_tokens: 4096, messages: this.history, stream: true },
        { signal: running.abort.signal },
      )
      for await (const event of stream) {
        if (this.running !== running) break
        if (event.type !== 'content_block_delta' || event.delta.type !== 'text_delta') continue
        if (answer.content === '') this.history.push(answer)
        answer.content += event.delta.text
        this.send({ type: 'token', turn: running.turn, text: event.delta.text })
      }
      if (this.running === running) this.send({ type: 'done', turn: running.turn })
    } catch (error) {
      if (this.running === running) {
        this.send({ type: 'error', turn: running.turn, message: error.message })
      }
    } finally {
      if (this.running === running) this.running = null
    }
  }

  close() {
    this.running?.abort.abort()
    this.running = null
  }
}

server.on('connection', (socket) => {
  const conversation = new Conversation(socket)
  socket.on('message', (message) => {
    try {
      conversation.take(message.toString())
    } catch (error) {
      conversation.send({ type: 'error', message: error.message })
    }
  })
  socket.on('close', () => conversation.close())
  socket.on('error', () => conversation.close())
  conversation.send({ type: 'ready' })
})

server.on('listening', () => {
  console.log(`peer serves ws://127.0.0.1:${server.address().port}/ws`)
})

process.on('SIGTERM', () => process.exit(0))
