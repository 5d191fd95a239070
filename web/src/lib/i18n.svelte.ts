// What the drivers' page says, in three languages, and how it writes money, times and distances.

const en = {
  tagline: 'Find a bay, book it, drive in', where: 'Where to?', whereHint: 'City or car park', near: 'Near me', from: 'Arrive', to: 'Leave',
  free: 'free', full: 'Full', unknownFree: 'bays unknown', verified: 'Gate verified', noGate: 'No gate with us', away: 'Gate offline',
  price: 'Total', noPrice: 'No price', book: 'Book', results: 'car parks', none: 'Nothing found here. Try another place or time.', list: 'List', map: 'Map',
  quote: 'Your price', held: 'This price is held for you until', plate: 'Number plate (optional)', confirm: 'Book this bay', back: 'Back',
  booking: 'Your booking', showCode: 'Show this code at the gate; it works without network.', entry: 'Open entry', exit: 'Open exit', opening: 'Opening…',
  opened: 'Open. Drive through.', sent: 'Sent to the gate…', refused: 'The gate did not open', pay: 'Pay', cancel: 'Cancel booking', receipt: 'Receipt', vat: 'of which VAT',
  done: 'Find another', running: 'Parked since', total: 'Total', offline: 'No connection. Trying again.', live: 'Live', noMap: 'The map needs WebGL; the list has everything.',
  booked: 'Booked', entered: 'Parked', exited: 'Left, to be paid', paid: 'Paid', cancelled: 'Cancelled', expired: 'Expired', due: 'To pay', badTimes: 'Leaving must be after arriving.',
  language: 'Language', current: 'Your booking', distance: 'away', number: 'No.', route: 'Route', noBooking: 'This car park is in the public register but has no gate with us yet, so it cannot be booked here.',
}
type Words = typeof en
const nl: Words = {
  tagline: 'Vind een plek, boek, rijd naar binnen', where: 'Waarheen?', whereHint: 'Stad of parkeergarage', near: 'Bij mij', from: 'Aankomst', to: 'Vertrek',
  free: 'vrij', full: 'Vol', unknownFree: 'plekken onbekend', verified: 'Poort getest', noGate: 'Geen poort bij ons', away: 'Poort offline',
  price: 'Totaal', noPrice: 'Geen prijs', book: 'Boek', results: 'parkeerplaatsen', none: 'Niets gevonden. Probeer een andere plaats of tijd.', list: 'Lijst', map: 'Kaart',
  quote: 'Jouw prijs', held: 'Deze prijs geldt voor jou tot', plate: 'Kenteken (mag leeg)', confirm: 'Boek deze plek', back: 'Terug',
  booking: 'Jouw boeking', showCode: 'Toon deze code bij de poort; ook zonder netwerk.', entry: 'Open ingang', exit: 'Open uitgang', opening: 'Gaat open…',
  opened: 'Open. Rijd maar door.', sent: 'Naar de poort gestuurd…', refused: 'De poort ging niet open', pay: 'Betaal', cancel: 'Annuleer boeking', receipt: 'Bon', vat: 'waarvan btw',
  done: 'Zoek verder', running: 'Geparkeerd sinds', total: 'Totaal', offline: 'Geen verbinding. We proberen het opnieuw.', live: 'Live', noMap: 'De kaart heeft WebGL nodig; in de lijst staat alles.',
  booked: 'Geboekt', entered: 'Geparkeerd', exited: 'Vertrokken, nog te betalen', paid: 'Betaald', cancelled: 'Geannuleerd', expired: 'Verlopen', due: 'Te betalen', badTimes: 'Vertrek moet na aankomst zijn.',
  language: 'Taal', current: 'Jouw boeking', distance: 'ver', number: 'Nr.', route: 'Route', noBooking: 'Deze parkeerplaats staat in het openbare register, maar heeft nog geen poort bij ons; boeken kan hier dus nog niet.',
}
const zh: Words = {
  tagline: '找车位、预订、驶入', where: '去哪里？', whereHint: '城市或停车场', near: '我附近', from: '到达', to: '离开',
  free: '空位', full: '已满', unknownFree: '空位未知', verified: '闸门已验证', noGate: '无联网闸门', away: '闸门离线',
  price: '总价', noPrice: '无价格', book: '预订', results: '个停车场', none: '这里没有结果，请换个地点或时间。', list: '列表', map: '地图',
  quote: '您的价格', held: '此价格为您保留至', plate: '车牌（可不填）', confirm: '预订此车位', back: '返回',
  booking: '您的预订', showCode: '在闸门前出示此码，无网络也可用。', entry: '打开入口', exit: '打开出口', opening: '正在打开…',
  opened: '已打开，请通过。', sent: '已发送到闸门…', refused: '闸门未打开', pay: '付款', cancel: '取消预订', receipt: '收据', vat: '其中增值税',
  done: '继续查找', running: '停入时间', total: '合计', offline: '无连接，正在重试。', live: '实时', noMap: '地图需要 WebGL；列表包含全部内容。',
  booked: '已预订', entered: '已停入', exited: '已离开，待付款', paid: '已付款', cancelled: '已取消', expired: '已过期', due: '应付', badTimes: '离开时间必须晚于到达时间。',
  language: '语言', current: '您的预订', distance: '', number: '编号', route: '路线', noBooking: '该停车场在公共登记册中，但尚未接入我们的闸门，暂时无法预订。',
}
export const LANGUAGES = { en, nl, zh }
export type Language = keyof typeof LANGUAGES

function first(): Language {
  const kept = localStorage.getItem('parkube.language')
  if (kept && kept in LANGUAGES) return kept as Language
  const wanted = navigator.languages.map((each) => each.slice(0, 2)).find((each) => each in LANGUAGES)
  return (wanted as Language | undefined) ?? 'en'
}

class Speech {
  language: Language = $state(first())
  words: Words = $derived(LANGUAGES[this.language])

  choose(language: Language): void {
    this.language = language
    localStorage.setItem('parkube.language', language)
    document.documentElement.lang = language
  }
  money(cents: number, currency: string): string {
    return new Intl.NumberFormat(this.language, { style: 'currency', currency }).format(cents / 100)
  }
  time(moment: string): string {
    return this.#moment().format(new Date(moment))
  }
  span(from: string, to: string): string {
    return this.#moment().formatRange(new Date(from), new Date(to))
  }
  #moment(): Intl.DateTimeFormat {
    const locale = this.language === 'en' ? 'en-GB' : this.language
    return new Intl.DateTimeFormat(locale, { weekday: 'short', day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
  }
  distance(metres: number): string {
    const [value, unit] = metres < 1000 ? [Math.round(metres / 10) * 10, 'meter'] : [metres / 1000, 'kilometer']
    return new Intl.NumberFormat(this.language, { style: 'unit', unit, maximumFractionDigits: 1 }).format(value)
  }
}

export const speech = new Speech()
document.documentElement.lang = speech.language
