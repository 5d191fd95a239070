// The platform's API as the pages see it: shapes, one function to ask, one error.

export type Garage = {
  id: string; name: string; city: string; latitude: number | null; longitude: number | null; distance_m: number | null
  price_cents: number | null; currency: string; free_bays: number | null; capacity: number | null
  bookable: boolean; verified: boolean; online: boolean
}
export type Line = { text: string; amount_cents: number }
export type Quote = {
  id: string; garage_id: string; from: string; to: string; price_cents: number; currency: string; vat_cents: number
  lines: Line[]; expires_at: string
}
export type Gate = { name: string; direction: 'entry' | 'exit' | 'both' }
export type Place = { kind: 'city' | 'garage'; name: string; city: string; latitude: number; longitude: number; garages: number }
export type BookingState = 'booked' | 'entered' | 'exited' | 'paid' | 'cancelled' | 'expired'
export type Booking = {
  id: string; secret: string; state: BookingState; from: string; to: string; price_cents: number; due_cents: number
  currency: string; lines: Line[]; plate: string | null; grant: string; qr_svg: string
  garage: { id: string; name: string; city: string; latitude: number | null; longitude: number | null; gates: Gate[]; online: boolean }
  session: { state: string; entered_at: string; exited_at: string | null } | null
}
export type OpenAnswer = { command_id: string; state: 'sent' | 'opened' | 'refused'; reason: string | null; code: string | null }
export type Receipt = {
  number: number; booking_id: string; issued_at: string; lines: Line[]; total_cents: number; vat_cents: number
  vat_percent: string; net_cents: number; currency: string
}
export type FleetGarage = {
  id: string; name: string; city: string; latitude: number | null; longitude: number | null; node: string | null; phase: string
  verified: 'True' | 'False' | 'Unknown'; reason: string | null; verified_at: string | null; duration_ms: number | null
  app_version: string | null; free_bays: number | null; last_seen: string | null; online: boolean
}
export type FleetNode = { name: string; roles: string[]; ready: boolean; version: string; age_s: number; addresses: string[] }
export type Fleet = { garages: FleetGarage[]; nodes: FleetNode[] }

export class Refused extends Error {
  constructor(readonly status: number, readonly code: string, message: string) {
    super(message)
  }
}

type Options = { method?: string; body?: unknown; secret?: string; key?: string; signal?: AbortSignal }

/** Ask the platform. Throws `Refused` with its one sentence, or with code `offline` when it cannot be reached. */
export async function ask<T>(path: string, { method = 'GET', body, secret, key, signal }: Options = {}): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' }
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  if (secret) headers['Authorization'] = `Bearer ${secret}`
  if (key) headers['Idempotency-Key'] = key
  let answer: Response
  try {
    answer = await fetch(`/api/v1/${path}`, { method, headers, body: body === undefined ? null : JSON.stringify(body), signal: signal ?? null })
  } catch (error) {
    if (signal?.aborted) throw error
    throw new Refused(0, 'offline', 'offline')
  }
  const found: unknown = await answer.json().catch(() => ({}))
  if (!answer.ok) {
    const problem = found as { detail?: string; code?: string }
    throw new Refused(answer.status, problem.code ?? '', problem.detail ?? `HTTP ${answer.status}`)
  }
  return found as T
}
