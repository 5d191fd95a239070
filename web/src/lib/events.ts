// Server-sent events with an Authorization header, which EventSource cannot send. Reconnects until closed.

type Handler = (name: string, data: unknown) => void

/** Listen; returns how to stop. `onState` hears whether the stream is up. */
export function listen(path: string, secret: string, onEvent: Handler, onState: (up: boolean) => void = () => {}): () => void {
  const stop = new AbortController()
  let wait_ms = 500

  async function once(): Promise<void> {
    const headers: Record<string, string> = { Accept: 'text/event-stream' }
    if (secret) headers['Authorization'] = `Bearer ${secret}`
    const answer = await fetch(`/api/v1/${path}`, { headers, signal: stop.signal })
    if (!answer.ok || !answer.body) throw new Error(`HTTP ${answer.status}`)
    onState(true)
    wait_ms = 500
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
    let rest = ''
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      const blocks = (rest + value).split('\n\n')
      rest = blocks.pop() ?? ''
      for (const block of blocks) {
        const lines = block.split('\n')
        const name = lines.find((line) => line.startsWith('event: '))?.slice(7)
        const data = lines.filter((line) => line.startsWith('data: ')).map((line) => line.slice(6)).join('\n')
        if (name && data) onEvent(name, JSON.parse(data))
      }
    }
  }

  void (async () => {
    while (!stop.signal.aborted) {
      await once().catch(() => {})
      if (stop.signal.aborted) return
      onState(false)
      await new Promise((done) => setTimeout(done, wait_ms))
      wait_ms = Math.min(wait_ms * 2, 10_000)
    }
  })()
  return () => stop.abort()
}
