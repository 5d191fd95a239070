// What the drivers' page knows and does: the search, the booking, live news. Pages only show it.
import { ask, Refused, type Booking, type Garage, type OpenAnswer, type Place, type Quote, type Receipt } from '../lib/api'
import { listen } from '../lib/events'
import { speech } from '../lib/i18n.svelte'

const KEPT = 'parkube.booking'
const quarter = (moment: Date) => new Date(Math.ceil(moment.getTime() / 900_000) * 900_000)
const local = (moment: Date) => new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
export const utc = (field: string) => new Date(field).toISOString().replace('.000', '')

function kept(): { id: string; secret: string } | null {
  try {
    return JSON.parse(localStorage.getItem(KEPT) ?? 'null') as { id: string; secret: string } | null
  } catch {
    return null
  }
}

class Store {
  at: [number, number] = $state([52.3731, 4.8926])
  from = $state(local(quarter(new Date())))
  to = $state(local(quarter(new Date(Date.now() + 7_200_000))))
  garages: Garage[] = $state([])
  searching = $state(false)
  chosen = $state('')
  quote: Quote | null = $state(null)
  booking: Booking | null = $state(null)
  receipt: Receipt | null = $state(null)
  gate = $state('')
  busy = $state(false)
  trouble = $state('')
  live = $state(false)
  #search: AbortController | null = null
  #stop = () => {}
  #poll: ReturnType<typeof setInterval> | undefined

  get garage(): Garage | undefined {
    return this.garages.find((each) => each.id === this.chosen)
  }

  async start(): Promise<void> {
    const old = kept()
    if (old) {
      await this.#try(async () => this.#show({ ...(await ask<Booking>(`driver/bookings/${old.id}`, { secret: old.secret })), secret: old.secret }))
      if (!this.booking) this.forget()
    }
    if (!this.booking) this.#listen()
    await this.search()
  }

  async search(): Promise<void> {
    if (!this.from || !this.to || utc(this.from) >= utc(this.to)) {
      this.trouble = speech.words.badTimes
      return
    }
    this.#search?.abort()
    const mine = (this.#search = new AbortController())
    this.searching = true
    const [lat, lon] = this.at
    const query = new URLSearchParams({ lat: `${lat}`, lon: `${lon}`, from: utc(this.from), to: utc(this.to), limit: '40' })
    await this.#try(async () => {
      const found = await ask<{ items: Garage[] }>(`driver/garages?${query}`, { signal: mine.signal })
      this.garages = found.items.filter((each) => each.latitude !== null)
    })
    if (this.#search === mine) this.searching = false
  }

  async places(text: string): Promise<Place[]> {
    if (text.trim().length < 2) return []
    return (await ask<{ items: Place[] }>(`driver/places?q=${encodeURIComponent(text)}`).catch(() => ({ items: [] }))).items
  }

  async choose(id: string): Promise<void> {
    this.chosen = id
    this.quote = null
    if (!this.garage?.bookable) return
    await this.#try(async () => {
      this.quote = await ask<Quote>('driver/quotes', { method: 'POST', body: { garage_id: id, from: utc(this.from), to: utc(this.to) } })
    })
  }

  async book(plate: string): Promise<void> {
    const quote = this.quote
    if (!quote) return
    await this.#try(async () => {
      const body = { quote_id: quote.id, plate: plate.trim() || null }
      this.#show(await ask<Booking>('driver/bookings', { method: 'POST', body, key: quote.id }))
    })
  }

  async open(gate: string): Promise<void> {
    const booking = this.booking
    if (!booking) return
    this.gate = speech.words.opening
    await this.#try(async () => {
      const answer = await ask<OpenAnswer>(`driver/bookings/${booking.id}/open`, { method: 'POST', body: { gate }, secret: booking.secret })
      const { opened, sent, refused } = speech.words
      this.gate = answer.state === 'refused' ? `${refused}${answer.reason ? `: ${answer.reason}` : ''}` : answer.state === 'opened' ? opened : sent
      await this.refresh()
    })
    if (this.trouble) this.gate = ''
  }

  async pay(): Promise<void> {
    const booking = this.booking
    if (!booking) return
    await this.#try(async () => {
      this.receipt = await ask<Receipt>(`driver/bookings/${booking.id}/pay`, { method: 'POST', secret: booking.secret })
      await this.refresh()
    })
  }

  async cancel(): Promise<void> {
    const booking = this.booking
    if (!booking) return
    await this.#try(async () => {
      const gone = await ask<Booking>(`driver/bookings/${booking.id}`, { method: 'DELETE', secret: booking.secret })
      this.#show({ ...gone, secret: booking.secret })
    })
  }

  async refresh(): Promise<void> {
    const booking = this.booking
    if (!booking) return
    const now = await ask<Booking>(`driver/bookings/${booking.id}`, { secret: booking.secret })
    this.booking = { ...now, secret: booking.secret }
  }

  forget(): void {
    localStorage.removeItem(KEPT)
    clearInterval(this.#poll)
    Object.assign(this, { booking: null, receipt: null, quote: null, chosen: '', gate: '', trouble: '' })
    this.#listen()
  }

  leave(): void {
    Object.assign(this, { chosen: '', quote: null, trouble: '' })
  }

  #show(booking: Booking): void {
    localStorage.setItem(KEPT, JSON.stringify({ id: booking.id, secret: booking.secret }))
    this.booking = booking
    if (booking.state === 'paid' && !this.receipt) {
      void ask<Receipt>(`driver/bookings/${booking.id}/receipt`, { secret: booking.secret }).then((receipt) => (this.receipt = receipt), () => {})
    }
    this.#listen()
    clearInterval(this.#poll)
    this.#poll = setInterval(() => this.live || void this.refresh().catch(() => {}), 4000)
  }

  #listen(): void {
    this.#stop()
    const mine = this.booking
    this.#stop = listen(mine ? `driver/events?booking=${mine.id}` : 'driver/events', mine?.secret ?? '', (name, data) => {
      if (name === 'booking' && mine) this.booking = { ...(data as Booking), secret: mine.secret }
      if (name === 'garage') {
        const news = data as Partial<Garage> & { id: string }
        this.garages = this.garages.map((each) => (each.id === news.id ? { ...each, ...news } : each))
      }
    }, (up) => (this.live = up))
  }

  async #try(work: () => Promise<void>): Promise<void> {
    this.busy = true
    this.trouble = ''
    try {
      await work()
    } catch (error) {
      if (error instanceof DOMException) return
      this.trouble = error instanceof Refused && error.code !== 'offline' ? error.message : speech.words.offline
    } finally {
      this.busy = false
    }
  }
}

export const store = new Store()
