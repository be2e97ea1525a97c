// The console's style sheet: the pages' own (one family with what people see), and what an operator's tool needs
// besides. Served from an address of its own, so that no page needs an exception to its policy.

import { STYLE as PAGES } from "../http/pages/style.ts";

export const STYLE = `${PAGES}
:root {
  --danger: #a3231b; --on-danger: #ffffff; --danger-soft: #fbe9e7; --danger-line: #eec4bf;
  --good: #0c6152; --good-soft: #e2f0ec; --field-line: #7d8983; --bar: #7fb8a8; --bar-2: #c3a24a;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --danger: #ff9d92; --on-danger: #3a0a06; --danger-soft: #34191a; --danger-line: #5f2c2a;
    --good: #6fd3ba; --good-soft: #17342d; --field-line: #76857e; --bar: #3f8f7b; --bar-2: #a8873a;
  }
}
body { font-size: .9375rem; }
ol, pre, figure, fieldset, legend { margin: 0; padding: 0; }
ol { list-style: none; }
form { margin: 0; }
fieldset { border: 0; min-width: 0; }
[hidden] { display: none !important; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--surface); padding: .6rem .9rem; border-radius: .5rem; z-index: 9; }
.quiet-text { color: var(--muted); }
.num { font-variant-numeric: tabular-nums; }
.nowrap { white-space: nowrap; }

/* ---- frame ---- */
.top { background: var(--surface); border-bottom: 1px solid var(--line); padding: .5rem 1rem; display: flex; align-items: center; justify-content: space-between; gap: .75rem; position: relative; z-index: 5; }
.brand { display: flex; align-items: center; gap: .65rem; color: inherit; text-decoration: none; min-width: 0; }
.brand svg { flex: none; }
.brand b { display: block; font-weight: 660; line-height: 1.2; letter-spacing: -.01em; overflow: hidden; text-overflow: ellipsis; display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; }
.brand small { display: block; color: var(--muted); font-size: .75rem; }
.menu > summary { list-style: none; cursor: pointer; display: flex; align-items: center; gap: .5rem; font-weight: 620; min-height: 2.75rem; padding: 0 .8rem; border: 1px solid var(--line); border-radius: .7rem; }
.menu > summary::-webkit-details-marker { display: none; }
.menu[open] > summary { background: var(--sunken); }
.menu > div { position: absolute; left: 0; right: 0; top: 100%; background: var(--surface); border-bottom: 1px solid var(--line); box-shadow: 0 18px 30px rgb(0 0 0 / .18); padding: .6rem .75rem 1rem; }
.nav a { display: flex; align-items: center; gap: .7rem; min-height: 2.75rem; padding: .35rem .75rem; border-radius: .65rem; color: var(--text); text-decoration: none; font-weight: 560; }
.nav a:hover { background: var(--sunken); }
.nav a[aria-current] { background: var(--accent-soft); color: var(--accent); font-weight: 650; }
.nav svg { flex: none; color: var(--muted); }
.nav a[aria-current] svg { color: inherit; }
.who { border-top: 1px solid var(--line); margin-top: .75rem; padding-top: .75rem; font-size: .8125rem; color: var(--muted); display: grid; gap: .5rem; }
.who code { color: var(--text); }
.side { display: none; }
main { padding: 1.25rem 1rem 4rem; max-width: 76rem; min-width: 0; }
main:focus { outline: none; }
.head { display: flex; flex-wrap: wrap; gap: .75rem 1.5rem; align-items: flex-end; justify-content: space-between; margin-bottom: 1.25rem; }
.head > div:first-child { min-width: 0; flex: 1 1 18rem; }
.head h1 { font-size: clamp(1.45rem, 1.2rem + 1vw, 1.85rem); line-height: 1.2; letter-spacing: -.02em; font-weight: 680; text-wrap: balance; display: flex; flex-wrap: wrap; gap: .3rem .75rem; align-items: center; margin: 0; }
.head p { color: var(--muted); margin-top: .3rem; max-width: 46rem; text-wrap: pretty; }
.crumbs { font-size: .8125rem; margin-bottom: .3rem; }
.crumbs a { color: var(--muted); display: inline-flex; align-items: center; min-height: 1.75rem; text-decoration: none; }
.crumbs a:hover { text-decoration: underline; }
.part { margin-top: 1.5rem; }
.part > h2, .part-head h2 { font-size: 1.0625rem; margin: 0; }
.part > h2 { margin-bottom: .65rem; }
.part-head { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: center; justify-content: space-between; margin-bottom: .65rem; }
.card { border-radius: .95rem; padding: 1.1rem; }
.card.flush { padding: 0; overflow-x: auto; container-type: inline-size; }
.card > h2:first-child { font-size: 1.0625rem; margin-bottom: .75rem; }
.grid { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr); align-items: start; }
.actions { display: flex; flex-wrap: wrap; gap: .55rem; align-items: center; }
.tabs { display: flex; gap: .25rem; border-bottom: 1px solid var(--line); margin-bottom: 1.25rem; overflow-x: auto; }
.tabs a { padding: .6rem .8rem; min-height: 2.75rem; color: var(--muted); text-decoration: none; font-weight: 600; border-bottom: 2px solid transparent; margin-bottom: -1px; white-space: nowrap; }
.tabs a:hover { color: var(--text); }
.tabs a[aria-current] { color: var(--accent); border-bottom-color: var(--accent); }
.tabs a:focus-visible { outline-offset: -3px; }

/* ---- words ---- */
.badge { display: inline-flex; align-items: center; gap: .4rem; font-size: .8125rem; font-weight: 620; letter-spacing: 0; line-height: 1.3; padding: .15rem .6rem; border-radius: 1rem; background: var(--sunken); color: var(--text); border: 1px solid var(--line); white-space: nowrap; }
.badge::before { content: ""; width: .5rem; height: .5rem; border-radius: 50%; background: var(--muted); flex: none; }
.badge.good { background: var(--good-soft); color: var(--good); border-color: transparent; }
.badge.good::before { background: var(--good); }
.badge.wait { background: var(--notice); color: var(--notice-text); border-color: var(--notice-line); }
.badge.wait::before { background: var(--notice-text); }
.badge.bad { background: var(--danger-soft); color: var(--danger); border-color: var(--danger-line); }
.badge.bad::before { background: var(--danger); }
.env { font-size: .6875rem; font-weight: 700; letter-spacing: .05em; text-transform: uppercase; padding: .05rem .4rem; border-radius: .35rem; border: 1px solid var(--line); color: var(--muted); }
.env.production { background: var(--danger-soft); color: var(--danger); border-color: var(--danger-line); }
.chips { display: flex; flex-wrap: wrap; gap: .35rem; }
.chip { background: var(--sunken); border-radius: .5rem; padding: .1rem .5rem; font-size: .8125rem; max-width: 100%; color: var(--text); }
.chip .id code { max-width: 11ch; }
.chip .copy { width: 1.5rem; height: 1.5rem; }
.chips + .chips { margin-top: .35rem; }
.id { display: inline-flex; align-items: center; gap: .25rem; max-width: 100%; vertical-align: middle; }
.id code { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; max-width: 12.5ch; user-select: all; -webkit-user-select: all; }
.id.long code { max-width: 24ch; }
.id.tail code { direction: rtl; text-align: left; }
.copy { flex: none; border: 0; background: none; color: var(--muted); padding: 0; width: 1.75rem; height: 1.75rem; border-radius: .4rem; cursor: pointer; display: inline-grid; place-items: center; }
.copy:hover { background: var(--sunken); color: var(--text); }
.copy.done { color: var(--good); }
.alert, .done { border-radius: .75rem; padding: .75rem .9rem; margin-bottom: 1.1rem; border: 1px solid; }
.alert { background: var(--danger-soft); border-color: var(--danger-line); color: var(--danger); }
.alert a { color: inherit; }
.alert li { margin-top: .2rem; }
.done { background: var(--good-soft); border-color: transparent; color: var(--good); font-weight: 600; }
.notice { margin-bottom: 1.1rem; }
.empty { text-align: center; padding: 2.25rem 1.25rem; color: var(--muted); }
.empty strong { display: block; color: var(--text); font-size: 1.0625rem; font-weight: 640; }
.empty p { max-width: 34rem; margin: .35rem auto 0; text-wrap: balance; }
.empty .actions { justify-content: center; margin-top: 1rem; }
.secret { display: flex; gap: .5rem; align-items: flex-start; background: var(--sunken); border: 1px solid var(--line); border-radius: .7rem; padding: .75rem .8rem; margin-top: .5rem; }
.secret code { flex: 1; font-size: .875rem; user-select: all; -webkit-user-select: all; overflow-wrap: anywhere; }
pre { background: var(--sunken); border-radius: .6rem; padding: .75rem; font: .8125rem/1.5 var(--mono); white-space: pre-wrap; overflow-wrap: anywhere; }
.verdict { border-radius: .95rem; padding: 1rem 1.1rem; background: var(--sunken); }
.verdict.good { background: var(--good-soft); }
.verdict.bad { background: var(--danger-soft); }
.verdict strong { display: block; font-size: 1.0625rem; }
.verdict.good strong { color: var(--good); }
.verdict.bad strong { color: var(--danger); }
.checks li { display: grid; grid-template-columns: 1.4rem minmax(0, 1fr); gap: .1rem .4rem; padding: .5rem 0; border-top: 1px solid var(--line); }
.checks li:first-child { border-top: 0; padding-top: 0; }
.checks .mark { font-weight: 700; color: var(--good); }
.checks .failed .mark { color: var(--danger); }
.checks p { grid-column: 2; color: var(--muted); font-size: .875rem; }
dl.facts-list { display: grid; grid-template-columns: minmax(0, 1fr); }
dl.facts-list > div { padding: .5rem 0; border-top: 1px solid var(--line); }
dl.facts-list > div:first-child { border-top: 0; padding-top: 0; }
dl.facts-list dt { color: var(--muted); font-size: .8125rem; }
summary { cursor: pointer; }
details.more > summary { color: var(--accent); font-weight: 600; font-size: .875rem; min-height: 2rem; padding: .3rem 0; }

/* ---- buttons and fields ---- */
.btn { display: inline-flex; align-items: center; justify-content: center; gap: .45rem; font: inherit; font-size: .9375rem; font-weight: 640; text-decoration: none; text-align: center; cursor: pointer; min-height: 2.75rem; padding: .5rem 1rem; border-radius: .7rem; border: 1px solid transparent; background: var(--accent); color: var(--on-accent); }
.btn:hover { filter: brightness(1.08); }
.btn.plain { background: var(--surface); color: var(--text); border-color: var(--line); }
.btn.plain:hover { background: var(--sunken); filter: none; }
.btn.danger { background: var(--danger); color: var(--on-danger); }
.btn.danger-plain { background: var(--surface); color: var(--danger); border-color: var(--danger-line); }
.btn.small-btn { white-space: nowrap; min-height: 2.25rem; padding: .3rem .75rem; font-size: .875rem; color: inherit; }
.btn[aria-busy] { opacity: .65; }
.default-action { position: absolute; left: -99rem; width: 1px; height: 1px; overflow: hidden; padding: 0; border: 0; }
.form { display: grid; gap: 1rem; }
.form.narrow { max-width: 34rem; }
.form-row { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr); align-items: start; }
.field label, .field legend, .legend { font-weight: 620; font-size: .875rem; display: block; }
.field .hint, .hint { font-size: .8125rem; color: var(--muted); font-weight: 400; display: block; margin-top: .15rem; }
.field .error { color: var(--danger); font-size: .875rem; font-weight: 600; margin-top: .3rem; display: block; }
.input { display: block; width: 100%; margin-top: .35rem; font: inherit; color: var(--text); background: var(--surface); border: 1px solid var(--field-line); border-radius: .6rem; padding: .5rem .7rem; min-height: 2.75rem; }
select.input { padding-right: 1.75rem; }
.input[aria-invalid] { border-color: var(--danger); border-width: 2px; }
.input:focus-visible { outline-offset: 0; }
textarea.input { min-height: 4.75rem; resize: vertical; }
input.mono, textarea.mono { font-family: var(--mono); font-size: .875rem; }
.tick, .field .tick { display: flex; gap: .6rem; align-items: flex-start; min-height: 2.25rem; padding: .3rem 0; font-weight: 500; }
.tick input { width: 1.15rem; height: 1.15rem; flex: none; margin: .15rem 0 0; accent-color: var(--accent); }
.tick .hint { margin: 0; }
.filters { display: grid; gap: .75rem; grid-template-columns: minmax(0, 1fr); align-items: end; margin-bottom: 1rem; }
.group { border: 1px solid var(--line); border-radius: .85rem; padding: .9rem; background: var(--ground); display: grid; gap: .85rem; }
.group-head { display: flex; gap: .5rem 1rem; align-items: center; justify-content: space-between; }
.group-head h3, .group h3 { margin: 0; }
.groups { display: grid; gap: .75rem; }

/* ---- lists ---- */
table { border-collapse: collapse; width: 100%; }
caption { position: absolute; left: -99rem; }
th { text-align: left; font-size: .8125rem; font-weight: 600; color: var(--muted); }
td, th { vertical-align: middle; }
.table thead { position: absolute; left: -99rem; }
.table, .table tbody, .table tr, .table td, .table tbody th { display: block; }
.table tr { padding: .8rem 1.1rem; }
.table tbody tr + tr { border-top: 1px solid var(--line); }
.table td { display: flex; gap: .25rem 1rem; justify-content: space-between; align-items: center; padding: .15rem 0; text-align: right; min-width: 0; }
.table td::before { content: attr(data-label); color: var(--muted); font-size: .8125rem; flex: none; text-align: left; }
.table td.act::before, .table td:empty { display: none; }
.table td.act { justify-content: flex-start; padding-top: .5rem; }
.table tbody th { color: var(--text); font-size: .9375rem; font-weight: 640; padding: 0 0 .3rem; }
.table tbody th .sub, .table td .sub { display: block; font-weight: 400; font-size: .8125rem; color: var(--muted); }
.table th a { text-decoration: none; }
.table th a:hover { text-decoration: underline; }
.pager { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; justify-content: space-between; margin-top: .9rem; color: var(--muted); font-size: .875rem; }

/* ---- overview ---- */
.tiles { display: grid; gap: .75rem; grid-template-columns: repeat(2, minmax(0, 1fr)); }
.tiles > :last-child:nth-child(odd) { grid-column: 1 / -1; }
.tile { background: var(--surface); border: 1px solid var(--line); border-radius: .95rem; padding: .85rem 1rem; box-shadow: var(--shadow); color: inherit; text-decoration: none; display: block; min-width: 0; }
a.tile:hover { border-color: var(--accent); }
.tile dt, .tile .what { color: var(--muted); font-size: .8125rem; display: block; }
.tile .value { display: block; font-size: 1.5rem; font-weight: 680; letter-spacing: -.02em; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile .also { display: block; color: var(--muted); font-size: .8125rem; }
.steps { counter-reset: step; }
.steps li { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: center; justify-content: space-between; padding: .75rem 0; border-top: 1px solid var(--line); }
.steps li:first-child { border-top: 0; }
.steps li > div { flex: 1 1 16rem; min-width: 0; }
.steps .is-done strong { color: var(--muted); font-weight: 560; text-decoration: line-through; }
.chart svg { display: block; width: 100%; height: auto; }
.chart svg { max-width: 36rem; }
.chart text { font: 12.5px system-ui, sans-serif; }
.chart .label { fill: var(--muted); }
.chart .value-label { fill: var(--text); font-weight: 600; }
.chart .axis { stroke: var(--line); stroke-width: 1; }
.chart .bar { fill: var(--bar); }
.chart .bar.failed { fill: var(--danger); }
.chart .bar.refused { fill: var(--bar-2); }
.chart .line { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; }
.chart .area { fill: var(--accent-soft); }
.chart figcaption { display: flex; flex-wrap: wrap; gap: .2rem 1rem; justify-content: space-between; align-items: baseline; margin-bottom: .6rem; }
.chart figcaption h2 { font-size: 1.0625rem; }
.legend-list { display: flex; flex-wrap: wrap; gap: .2rem .9rem; font-size: .8125rem; color: var(--muted); margin-top: .5rem; }
.legend-list li { display: flex; gap: .4rem; align-items: center; }
.legend-list svg { flex: none; width: .7rem; height: .7rem; }

/* ---- preview, invite, sign in ---- */
.editor { display: grid; gap: 1.25rem; grid-template-columns: minmax(0, 1fr); align-items: start; }
.preview { border: 1px solid var(--line); border-radius: 1.4rem; background: var(--ground); padding: .75rem; }
.preview-bar { display: flex; gap: .4rem; align-items: center; justify-content: center; color: var(--muted); font-size: .8125rem; padding: .1rem 0 .7rem; }
.preview .masthead { padding: .5rem .4rem 1rem; }
.preview .masthead h2 { font-size: 1.35rem; line-height: 1.2; letter-spacing: -.02em; font-weight: 680; margin: .25rem 0 .7rem; text-wrap: balance; }
.qr-card { display: grid; gap: 1.25rem; grid-template-columns: minmax(0, 1fr); align-items: start; }
.qr { margin-inline: 0; }
.qr-card .qr { margin-inline: auto; width: 15rem; max-width: 100%; }
.match { font: 680 2rem/1.2 var(--mono); letter-spacing: .2em; }
.sign-in { min-height: 100vh; display: grid; place-items: center; padding: 1rem; }
.sign-in main { width: 100%; max-width: 27rem; padding: 0; }
.sign-in .card { padding: 1.6rem; }
.sign-in h1 { font-size: 1.4rem; letter-spacing: -.015em; line-height: 1.25; margin: 1.1rem 0 .3rem; }
.sign-in footer { padding: 0 .25rem; }

@media (min-width: 40rem) {
  main { padding: 1.75rem 1.75rem 4rem; }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); }
  .tiles > :last-child:nth-child(odd) { grid-column: auto; }
  .form-row { grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); }
  .filters { grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)) ; }
  .filters .wide { grid-column: span 2; }
  .chart text { font-size: 10px; }
  dl.facts-list > div { display: grid; grid-template-columns: minmax(6.5rem, 28%) minmax(0, 1fr); gap: 1rem; align-items: baseline; }
  .qr-card { grid-template-columns: 15rem minmax(0, 1fr); }
}
@media (min-width: 60rem) {
  .app { display: grid; grid-template-columns: 15.5rem minmax(0, 1fr); min-height: 100vh; }
  .top { display: none; }
  .side { display: flex; flex-direction: column; background: var(--surface); border-right: 1px solid var(--line); padding: 1.1rem .75rem; position: sticky; top: 0; height: 100vh; overflow-y: auto; }
  .side .brand { padding: .2rem .6rem 1.1rem; }
  .side .nav a { min-height: 2.4rem; }
  .side .who { margin-top: auto; padding: .9rem .6rem 0; }
  main { padding: 2rem 2.25rem 4rem; }
  .grid.two { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .grid.main-and-aside { grid-template-columns: minmax(0, 1.6fr) minmax(0, 1fr); }
  .editor { grid-template-columns: minmax(0, 1fr) 24rem; }
  .editor > aside { position: sticky; top: 1.5rem; max-height: calc(100vh - 3rem); overflow-y: auto; }
}
/* How a list looks depends on the room it has, not on the window's: beside the navigation there is less. */
@container (min-width: 34rem) {
  .table tr { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); column-gap: 2.5rem; }
  .table tbody th { grid-column: 1 / -1; }
}
@container (min-width: 58rem) {
  .table { display: table; }
  .table thead { position: static; display: table-header-group; background: var(--ground); }
  .table thead th { padding: .6rem 1.1rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
  .table tbody { display: table-row-group; }
  .table tr { display: table-row; }
  .table tbody tr + tr > * { border-top: 1px solid var(--line); }
  .table tbody tr + tr { border-top: 0; }
  .table td, .table tbody th { display: table-cell; padding: .7rem 1.1rem; text-align: left; }
  .table tbody th { min-width: 9rem; }
  .table code { white-space: nowrap; }
  .table td::before { display: none; }
  .table td:empty { display: table-cell; }
  .table td.act { text-align: right; padding-top: .45rem; padding-bottom: .45rem; }
  .table td.act .actions { justify-content: flex-end; flex-wrap: nowrap; }
}
`;
