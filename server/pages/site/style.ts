/** The style sheet of every page. It is part of the page, so that a page works below any path and without a second request. */
export const STYLE = `
:root{--ink:#1b2333;--dim:#566176;--line:#dfe4ec;--paper:#f6f8fb;--card:#fff;--wash:#eef2f8;--link:#0a58a8;--mark:#0a58a8;--good:#13653c;--goodwash:#e2f4ea;--warn:#7a4b00;--warnwash:#fdf0d7;--bad:#a3201d;--badwash:#fce6e5}
@media(prefers-color-scheme:dark){:root{--ink:#e5e9f0;--dim:#a0abbd;--line:#2c3546;--paper:#0f141d;--card:#171e2a;--wash:#1e2736;--link:#82b8f5;--mark:#82b8f5;--good:#7fd6a4;--goodwash:#143325;--warn:#eec06f;--warnwash:#3a2c10;--bad:#f3a09d;--badwash:#421d1d}}
*{box-sizing:border-box}
html{scroll-padding-top:1rem}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif;overflow-wrap:anywhere}
.top,main{max-width:82rem;margin:0 auto;padding:0 1.5rem}
.top{display:flex;flex-wrap:wrap;align-items:center;gap:.3rem 1.4rem;padding-top:1rem;padding-bottom:1rem}
.brand{display:flex;align-items:center;gap:.55rem;font-weight:650;color:var(--ink);font-size:1.05rem;margin-right:auto}
.brand svg{width:1.5rem;height:1.5rem;color:var(--mark);flex:none}
.skip{position:absolute;left:-99rem}
.skip:focus{position:static}
a{color:var(--link);text-decoration:none}
a:hover{text-decoration:underline}
p a,th a,.misses a,.prose a,details li a{text-decoration:underline;text-underline-offset:.15em}
:focus-visible{outline:2px solid var(--mark);outline-offset:2px;border-radius:4px}
h1{margin:.6rem 0 .2rem;font-size:1.7rem;line-height:1.25;letter-spacing:-.015em}
h2{margin:2rem 0 .6rem;font-size:1.15rem}
h3{margin:1.3rem 0 .4rem;font-size:1rem}
p{margin:.4rem 0}
.dim,.lead{color:var(--dim)}
code,pre,kbd{font:.88em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{margin:0;overflow:auto;max-height:28rem;overflow-wrap:normal}
ul{margin:.4rem 0;padding-left:1.3rem}
.panel,.card,.field{background:var(--card);border:1px solid var(--line);border-radius:10px}
.panel{padding:.9rem 1.1rem;margin:1rem 0}
.panel>:first-child,.panel h2:first-child{margin-top:0}
.field{display:flex;align-items:flex-start;gap:.7rem;margin:.3rem 0 .9rem;padding:.5rem .5rem .5rem .8rem}
.field code,.field pre{flex:1;min-width:0;padding:.15rem 0}
.field code{overflow-wrap:anywhere}
.field pre{white-space:pre-wrap;word-break:break-all}
.label{margin:.9rem 0 0;font-weight:600;font-size:.92rem}
.label+.hint{margin:0}
.hint{color:var(--dim);font-size:.88rem;margin:.2rem 0}
button,.button,select,input{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.42rem .75rem;min-height:2.4rem}
button,.button{cursor:pointer;background:var(--wash)}
button:hover,.button:hover{border-color:var(--mark);text-decoration:none}
button.copy{flex:none;min-height:0;padding:.18rem .6rem;font-size:.85rem}
.go{background:var(--mark);color:var(--card);border-color:var(--mark)}
form.search{display:flex;flex-wrap:wrap;gap:.6rem;margin:1.2rem 0 .8rem;align-items:end}
form.search label{display:grid;gap:.15rem;font-size:.85rem;color:var(--dim)}
form.search label.wide{flex:1 1 16rem}
form.search input,form.search select{color:var(--ink);font-size:1rem;width:100%;height:2.5rem}
kbd{border:1px solid var(--line);border-bottom-width:2px;border-radius:4px;padding:0 .35em;background:var(--card)}
.cards{list-style:none;margin:0;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(min(21rem,100%),1fr));gap:.8rem}
.card{position:relative;padding:.9rem 1rem .8rem;display:flex;flex-direction:column;gap:.3rem;min-width:0}
.card:hover{border-color:var(--mark)}
.button,p a.button{text-decoration:none}
.card h2{margin:0;font-size:1.02rem;line-height:1.35}
.card h2 a::after{content:"";position:absolute;inset:0;border-radius:10px}
.card .name{font-size:.85rem;color:var(--dim)}
.card .about{margin:0;font-size:.9rem;color:var(--dim);display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2;overflow:hidden}
.card .end{display:flex;gap:.5rem;align-items:center;margin-top:auto;padding-top:.35rem;font-size:.86rem;color:var(--dim)}
.card .end .sum{flex:1}
.card .end a,.card .end button{position:relative;z-index:1}
.card .end b{color:var(--ink);font-weight:600}
.head{display:flex;gap:.7rem;align-items:flex-start}
.head>div{min-width:0;flex:1}
.icon{width:2.2rem;height:2.2rem;border-radius:7px;object-fit:contain;flex:none}
h1 .icon{width:2rem;height:2rem;vertical-align:-.45rem;margin-right:.5rem}
.tags{display:flex;flex-wrap:wrap;gap:.3rem;font-size:.8rem}
.tag{display:inline-block;padding:.05rem .5rem;background:var(--wash);border-radius:99px;color:var(--dim);font-size:.8rem;white-space:nowrap;max-width:100%;overflow:hidden;text-overflow:ellipsis;vertical-align:middle}
.good{background:var(--goodwash);color:var(--good)}
.warn{background:var(--warnwash);color:var(--warn)}
.bad{background:var(--badwash);color:var(--bad)}
.note{border-radius:8px;padding:.55rem .8rem;margin:.6rem 0}
.note a{color:inherit}
details>summary{cursor:pointer;padding:.15rem 0}
.misses{padding:0;list-style:none}
.misses li{padding:.35rem 0;border-top:1px solid var(--line)}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:10px;background:var(--card)}
table{width:100%;border-collapse:collapse;overflow-wrap:normal}
th,td{padding:.5rem .8rem;text-align:left;vertical-align:top}
thead th{background:var(--wash);color:var(--dim);font-weight:550;font-size:.85rem;white-space:nowrap}
tbody th{font-weight:600}
tbody tr+tr>*{border-top:1px solid var(--line)}
td p{margin:0 0 .2rem}
.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.nowrap{white-space:nowrap}
.digest{display:inline-block;max-width:16ch;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;vertical-align:middle;user-select:all;color:var(--dim)}
td>button.copy{margin:-.3rem 0;vertical-align:middle}
.key .hint{font-weight:400}
summary h2{display:inline-block;margin:1.4rem 0 .6rem}
.key{overflow-wrap:anywhere;min-width:15rem}
.about-col{min-width:15rem;overflow-wrap:anywhere}
.prose{padding:.2rem 1.2rem 1rem}
.prose pre{background:var(--wash);border-radius:8px;padding:.7rem .9rem;margin:.7rem 0}
.prose :not(pre)>code{background:var(--wash);border-radius:4px;padding:.05rem .3rem}
.prose table{display:block;overflow-x:auto;max-width:100%;margin:.7rem 0}
.prose th,.prose td{border:1px solid var(--line)}
.prose blockquote{margin:.7rem 0;padding:0 1rem;border-left:3px solid var(--line);color:var(--dim)}
.host{color:var(--dim);font-size:.85em}
.pages,.tabs,.crumbs{display:flex;flex-wrap:wrap;gap:.4rem .9rem;align-items:center;margin:1rem 0}
.pages form{display:flex;gap:.4rem;align-items:center;margin-left:auto}
.pages label{color:var(--dim);font-size:.9rem}
.pages input{width:5.5rem;min-height:0;padding:.2rem .5rem}
.pages button{min-height:0;padding:.2rem .7rem}
.crumbs{margin:.2rem 0;font-size:.9rem}
.tabs .here,.tabs [aria-current]{font-weight:600;color:var(--ink)}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(24rem,100%),1fr));gap:0 1.5rem}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(8.6rem,100%),1fr));gap:.7rem;margin:1rem 0}
.facts>div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.6rem .9rem}
.facts dt{color:var(--dim);font-size:.83rem}
.facts dd{margin:0;font-size:1.12rem;font-weight:600}
.facts dd small{font-weight:400;color:var(--dim);font-size:.8rem;display:block}
.foot{padding-top:2.2rem;padding-bottom:2.5rem;font-size:.88rem;color:var(--dim);display:flex;flex-wrap:wrap;gap:.2rem 1.2rem}
[hidden]{display:none!important}
@media(max-width:40rem){form.search label{flex:1 1 8rem}form.search .go{flex:1 1 100%}.top,main{padding-left:1rem;padding-right:1rem}h1{font-size:1.4rem}.stack thead{display:none}.stack,.stack tbody,.stack tr,.stack td,.stack th{display:block}.stack tr{padding:.55rem .2rem}.stack td,.stack tbody th{padding:.1rem .7rem;border:0!important;text-align:left}.stack td:empty{display:none}.stack td[data-label]::before{content:attr(data-label) " ";color:var(--dim);font-size:.83rem}.stack tr+tr{border-top:1px solid var(--line)}.about-col,.key{min-width:0}}
@media print{
@page{margin:1.4cm}
:root{color-scheme:light;--paper:#fff;--card:#fff;--wash:#fff;--ink:#000;--dim:#333;--line:#999;--link:#000;--mark:#000;--good:#000;--goodwash:#fff;--warn:#000;--warnwash:#fff;--bad:#000;--badwash:#fff}
body{font-size:10.5pt}
.top,main{max-width:none;padding:0}
form.search,button,.button,.skip,.top nav,.pages,.tabs,.crumbs{display:none!important}
.cards{grid-template-columns:1fr 1fr}
.card,.field,.facts>div,tr{break-inside:avoid}
h1,h2,h3,h4,thead{break-after:avoid}
thead{display:table-header-group}
.card .about{display:block}
.card h2 a::after{content:none}
.tag,.note{border:1px solid var(--line)}
pre{max-height:none;white-space:pre-wrap}
.scroll,.prose table{overflow:visible}
.digest{max-width:none;white-space:normal;overflow-wrap:anywhere;user-select:auto}
details::details-content{content-visibility:visible;display:block;height:auto}
.prose a[href^=http]::after,.note a[href^=http]::after{content:" (" attr(href) ")";color:var(--dim);font-size:.88em;overflow-wrap:anywhere}
}
`;
