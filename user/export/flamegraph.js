// SPDX-License-Identifier: Apache-2.0
// Makes the flame graph answer: fits it to its place, zooms, searches, tells what is under the pointer.
// The markup that it relies on is described in flamegraph.c. Everything is looked up inside its own <svg> and
// no id is used, so that several graphs can live in one page. Comments stay on lines of their own and
// strings on one line: see scripts/embed.sh.
(function () {
'use strict';
const script = document.currentScript;
const svg = script && script.closest('.pybpf-flamegraph');
if (!svg) {
	return;
}

const SVG = 'http://www.w3.org/2000/svg';
const XHTML = 'http://www.w3.org/1999/xhtml';
const ROW = 18, SIDE = 10, PAD = 4, TEXT_Y = 13;
const STATUS = 28, WIDE = 760, TOOLS = 340;
// Frames narrower than this many pixels are not shown.
const THINNEST = 0.1;

const alone = svg === document.documentElement;
const fixedWidth = Number(svg.dataset.width);
const rowCount = Number(svg.dataset.rows);
const sampleCount = Number(svg.dataset.samples);
const inverted = svg.dataset.inverted === '1';
const framesGroup = svg.querySelector('.frames');
const title = svg.querySelector('.title');
const subtitle = svg.querySelector('.subtitle');

// ---- frames, parents first
const frames = readFrames();
let width = 0, headHeight = 0, zoomed = 0, cursor = -1, pending = 0, atRoot = !inverted;
let search = {text: '', exact: false, regex: null};

function readFrames() {
	const list = [], path = [];
	for (let g = framesGroup.firstElementChild; g; g = g.nextElementSibling) {
		const rect = g.children[1];
		const row = Math.round(Number(rect.getAttribute('y')) / ROW);
		const frame = {
			g: g, rect: rect, text: g.children[2] || null, index: list.length,
			name: g.firstChild.textContent.replace(/ \(\d+ samples, [\d.]+%\)$/, ''),
			start: Number(rect.getAttribute('data-x')), samples: Number(rect.getAttribute('data-w')),
			y: row * ROW, depth: inverted ? row : rowCount - 1 - row,
			parent: -1, end: 0, hidden: false, look: '', label: null,
		};
		while (path.length > frame.depth) {
			path.pop().end = list.length;
		}
		if (path.length) {
			frame.parent = path[path.length - 1].index;
		}
		path.push(frame);
		list.push(frame);
		g.setAttribute('data-i', frame.index);
	}
	path.forEach(function (frame) {
		frame.end = list.length;
	});
	return list;
}

function make(parent, tag, attributes, namespace) {
	const element = document.createElementNS(namespace || SVG, tag);
	Object.keys(attributes || {}).forEach(function (key) {
		element.setAttribute(key, attributes[key]);
	});
	parent.appendChild(element);
	return element;
}

function share(part, whole) {
	return (whole ? part / whole * 100 : 0).toFixed(2) + ' %';
}

function counted(n) {
	return n.toLocaleString('en') + (n === 1 ? ' sample' : ' samples');
}

// ---- widths of text: measured once a character, without touching the layout
function measure(element) {
	const context = document.createElementNS(XHTML, 'canvas').getContext('2d');
	const style = getComputedStyle(element), known = new Map();
	context.font = style.fontWeight + ' ' + style.fontSize + ' ' + style.fontFamily;
	return function (character) {
		let w = known.get(character);
		if (w === undefined) {
			w = context.measureText(character).width;
			known.set(character, w);
		}
		return w;
	};
}

function textWidth(text, widthOf) {
	let w = 0;
	for (const character of text) {
		w += widthOf(character);
	}
	return w;
}

// The text, or its beginning and '..', or nothing when not even that has room.
function fit(text, room, widthOf) {
	const dots = 2 * widthOf('.');
	let w = 0, keep = 0, at = 0;
	for (const character of text) {
		w += widthOf(character);
		if (w > room) {
			return keep ? text.slice(0, keep) + '..' : '';
		}
		at += character.length;
		if (w + dots <= room) {
			keep = at;
		}
	}
	return text;
}

// What a line may be broken between: the words of the command, but not inside of `100 Hz`.
function units(text) {
	const parts = text.split(' \u00b7 '), last = parts.length - 1;
	const list = parts[0].split(' ').concat(parts.slice(1));
	return list.map(function (unit, i) {
		return i >= list.length - 1 - last && i < list.length - 1 ? unit + ' \u00b7' : unit;
	});
}

// Lines of such units, at most `most` of them; what is left over is cut.
function wrap(text, room, widthOf, most) {
	const lines = [''];
	for (const word of units(text)) {
		const last = lines[lines.length - 1], longer = last ? last + ' ' + word : word;
		if (!last || lines.length === most || textWidth(longer, widthOf) <= room) {
			lines[lines.length - 1] = longer;
		} else {
			lines.push(word);
		}
	}
	return lines.map(function (line) {
		return fit(line, room, widthOf);
	});
}

// ---- what the script adds to the picture
const head = make(svg, 'g', {class: 'head'});
const headGround = make(head, 'rect', {class: 'ground', x: 0, y: 0, fill: '#fff'});
head.appendChild(title);
head.appendChild(subtitle);
const toolsPlace = make(head, 'foreignObject', {width: TOOLS, height: 30});
const tools = make(toolsPlace, 'div', {class: 'tools', role: 'search'}, XHTML);
const field = make(tools, 'input', {
	type: 'search', placeholder: 'Search (regular expression)', spellcheck: 'false', autocomplete: 'off',
	'aria-label': 'Search for a name or regular expression', title: 'Ctrl-F or /',
}, XHTML);
const caseButton = make(tools, 'button', {
	type: 'button', 'aria-pressed': 'false', title: 'Match upper and lower case exactly', class: 'case',
}, XHTML);
caseButton.textContent = 'Aa';
const resetButton = make(tools, 'button', {
	type: 'button', title: 'Show everything again (Escape)', class: 'reset', disabled: '',
}, XHTML);
resetButton.textContent = 'Reset zoom';
const statusBar = make(svg, 'g', {class: 'status'});
const statusGround = make(statusBar, 'rect', {class: 'bar', x: 0, y: 0, height: STATUS});
const statusEdge = make(statusBar, 'line', {class: 'edge', x1: 0, y1: 0.5, y2: 0.5});
const details = make(statusBar, 'text', {class: 'details', x: SIDE, y: 18, 'aria-live': 'polite'});
const matched = make(statusBar, 'text', {class: 'matched', y: 18, 'text-anchor': 'end', 'aria-live': 'polite'});
const frameChar = measure(framesGroup), titleChar = measure(title), subtitleChar = measure(subtitle);
const detailsChar = measure(details), matchedChar = measure(matched);

// ---- layout
function show(element, lines, x, y, step) {
	element.textContent = '';
	lines.forEach(function (line, i) {
		make(element, 'tspan', {x: x, y: y + i * step}).textContent = line;
	});
}

// Title, subtitle and the search field side by side, or one below the other where that is too narrow.
function layoutHead() {
	const beside = width >= WIDE;
	const room = width - 2 * SIDE - (beside ? TOOLS + 2 * SIDE : 0);
	const titles = wrap(title.dataset.text, room, titleChar, 2);
	const lines = wrap(subtitle.dataset.text, room, subtitleChar, 4);
	let y = 28;
	show(title, titles, SIDE, y, 21);
	y += titles.length * 21 - 1;
	show(subtitle, lines, SIDE, y, 16);
	y += (lines.length - 1) * 16;
	toolsPlace.setAttribute('width', beside ? TOOLS : Math.max(width - 2 * SIDE, 1));
	toolsPlace.setAttribute('x', beside ? width - SIDE - TOOLS : SIDE);
	toolsPlace.setAttribute('y', beside ? 14 : y + 10);
	headHeight = Math.max(y + 14, 62) + (beside ? 0 : 36);
	headGround.setAttribute('width', width);
	headGround.setAttribute('height', headHeight - 2);
}

function hide(frame) {
	if (!frame.hidden) {
		frame.hidden = true;
		frame.g.setAttribute('display', 'none');
	}
}

function place(frame, x, w, look) {
	const label = fit(frame.name, w - 2 * PAD, frameChar);
	if (frame.hidden) {
		frame.hidden = false;
		frame.g.removeAttribute('display');
	}
	frame.rect.setAttribute('x', x.toFixed(2));
	frame.rect.setAttribute('width', w.toFixed(2));
	if (w < 1.5) {
		frame.rect.setAttribute('stroke-width', '0');
	} else {
		frame.rect.removeAttribute('stroke-width');
	}
	if (label && !frame.text) {
		frame.text = make(frame.g, 'text', {y: frame.y + TEXT_Y});
	}
	if (frame.text) {
		frame.text.setAttribute('x', (x + PAD).toFixed(2));
		if (label !== frame.label) {
			frame.text.textContent = label;
		}
	}
	frame.label = label;
	if (look !== frame.look) {
		frame.look = look;
		frame.g.classList.toggle('above', look === 'above');
	}
}

function layoutFrames() {
	const view = frames[zoomed], above = new Set();
	const scale = view.samples ? (width - 2 * SIDE) / view.samples : 0;
	for (let i = view.parent; i >= 0; i = frames[i].parent) {
		above.add(i);
	}
	frames.forEach(function (frame, i) {
		const w = frame.samples * scale;
		if (above.has(i)) {
			place(frame, SIDE, width - 2 * SIDE, 'above');
		} else if (i < zoomed || i >= view.end || (w < THINNEST && i !== zoomed)) {
			hide(frame);
		} else {
			place(frame, SIDE + (frame.start - view.start) * scale, Math.max(w, 0), '');
		}
	});
	resetButton.disabled = zoomed === 0;
}

function neededHeight() {
	return headHeight + rowCount * ROW + 6 + STATUS;
}

// Where the graph is taller than its window, head and status bar stay in sight.
function layoutEdges() {
	const needed = neededHeight();
	let top = 0, bottom = needed;
	if (alone && window.innerHeight < needed) {
		top = Math.min(Math.max(window.scrollY, 0), Math.max(needed - window.innerHeight, 0));
		bottom = top + window.innerHeight;
	}
	head.setAttribute('transform', 'translate(0 ' + top + ')');
	statusBar.setAttribute('transform', 'translate(0 ' + (bottom - STATUS) + ')');
}

function layout() {
	layoutHead();
	const height = alone ? Math.max(neededHeight(), window.innerHeight) : neededHeight();
	svg.setAttribute('height', height);
	svg.style.height = height + 'px';
	framesGroup.setAttribute('transform', 'translate(0 ' + headHeight + ')');
	statusGround.setAttribute('width', width);
	statusEdge.setAttribute('x2', width);
	layoutFrames();
	layoutEdges();
	showDetails(null);
	showMatched();
}

function refit() {
	const now = Math.max(fixedWidth || svg.getBoundingClientRect().width, 120);
	if (now !== width) {
		width = now;
		layout();
	} else {
		layoutEdges();
	}
	// The root at the bottom is where reading begins; who has scrolled away stays there.
	if (alone && atRoot) {
		window.scrollTo(0, neededHeight());
		layoutEdges();
	}
}

function refitSoon() {
	if (!pending) {
		pending = requestAnimationFrame(function () {
			pending = 0;
			refit();
		});
	}
}

// ---- details of a frame
function describe(frame) {
	let text = counted(frame.samples) + ', ' + share(frame.samples, sampleCount);
	if (zoomed && frame.index > zoomed && frame.index < frames[zoomed].end) {
		text += ' (' + share(frame.samples, frames[zoomed].samples) + ' of this view)';
	}
	return text;
}

function showDetails(frame) {
	const room = width - 2 * SIDE - (matched.textContent ? textWidth(matched.textContent, matchedChar) + 16 : 0);
	let text = 'Click a frame to zoom, Escape to go back, Ctrl-F to search';
	if (!frame && cursor >= 0) {
		frame = frames[cursor];
	}
	if (!frame && zoomed) {
		frame = frames[zoomed];
	}
	if (frame) {
		const facts = describe(frame);
		const name = fit(frame.name, room - textWidth(' \u2014 ' + facts, detailsChar), detailsChar);
		text = name ? name + ' \u2014 ' + facts : facts;
	}
	details.textContent = fit(text, room, detailsChar);
}

// ---- zoom
function zoom(index) {
	zoomed = index;
	layoutFrames();
	showDetails(null);
	showMatched();
}

// ---- search
// The strict syntax first (it knows characters beyond 16 bits), then the lenient one (it takes an escape too
// many), then the text as it is: while an expression is being typed, and for names such as `main (app`.
function compile(text, exact) {
	const flags = exact ? '' : 'i';
	const literal = text.replace(/[\\^$.*+?()[\]{}|\/]/g, '\\$&');
	for (const attempt of [[text, flags + 'u'], [text, flags], [literal, flags + 'u']]) {
		try {
			return new RegExp(attempt[0], attempt[1]);
		} catch (notAnExpression) {
			continue;
		}
	}
	return null;
}

function find(text, exact) {
	search = {text: text, exact: exact, regex: text ? compile(text, exact) : null};
	frames.forEach(function (frame) {
		const hit = Boolean(search.regex) && search.regex.test(frame.name);
		if (hit !== Boolean(frame.hit)) {
			frame.hit = hit;
			frame.g.classList.toggle('hit', hit);
		}
	});
	framesGroup.classList.toggle('searching', Boolean(search.regex));
	caseButton.setAttribute('aria-pressed', String(exact));
	if (field.value !== text) {
		field.value = text;
	}
	showMatched();
}

// Samples with a match from frame `from` on to before `end`. Matches inside matches are not counted again.
function matchedSamples(from, end) {
	let sum = 0;
	for (let i = from; i < end;) {
		if (frames[i].hit) {
			sum += frames[i].samples;
			i = frames[i].end;
		} else {
			i++;
		}
	}
	return sum;
}

function showMatched() {
	let text = '';
	if (search.regex) {
		text = 'Matched: ' + share(matchedSamples(0, frames.length), sampleCount);
		if (zoomed) {
			const view = frames[zoomed];
			let inside = matchedSamples(zoomed, view.end);
			for (let i = view.parent; i >= 0; i = frames[i].parent) {
				inside = frames[i].hit ? view.samples : inside;
			}
			text += ' (' + share(inside, view.samples) + ' of this view)';
		}
	}
	matched.textContent = text;
	matched.setAttribute('x', width - SIDE);
	showDetails(null);
}

// ---- the address keeps zoom and search, so that a view can be reloaded, linked to, and gone back to
function remember(newEntry) {
	const parts = [];
	if (!alone) {
		return;
	}
	if (zoomed) {
		parts.push('z=' + zoomed);
	}
	if (search.text) {
		parts.push('s=' + encodeURIComponent(search.text));
	}
	if (search.exact) {
		parts.push('c=1');
	}
	const address = '#' + parts.join('&');
	if (address === (location.hash || '#')) {
		return;
	}
	try {
		history[newEntry ? 'pushState' : 'replaceState'](null, '', address);
	} catch (notAllowedHere) {
		// Some browsers forbid it for files: then the view just is not kept.
	}
}

function recall() {
	const values = {};
	location.hash.slice(1).split('&').forEach(function (part) {
		const at = part.indexOf('=');
		try {
			values[part.slice(0, at)] = decodeURIComponent(part.slice(at + 1));
		} catch (notEncoded) {
			values[part.slice(0, at)] = '';
		}
	});
	zoomed = frames[values.z] ? Number(values.z) : 0;
	find(values.s || '', values.c === '1');
	layoutFrames();
	showMatched();
}

// ---- pointer and keys
function frameAt(event) {
	const g = event.target.closest && event.target.closest('.frames > g');
	return g && framesGroup.contains(g) ? frames[g.getAttribute('data-i')] : null;
}

function setCursor(index) {
	if (cursor >= 0) {
		frames[cursor].g.classList.remove('cursor');
	}
	cursor = index;
	if (cursor >= 0) {
		frames[cursor].g.classList.add('cursor');
		frames[cursor].g.scrollIntoView({block: 'nearest'});
	}
	showDetails(null);
}

function reset() {
	setCursor(-1);
	zoom(0);
	remember(true);
}

// The widest shown child of a frame, or the next shown one of its row in a direction; -1: none.
function childOf(index) {
	let best = -1;
	for (let i = index + 1; i < frames[index].end; i = frames[i].end) {
		if (!frames[i].hidden && (best < 0 || frames[i].samples > frames[best].samples)) {
			best = i;
		}
	}
	return best;
}

function besides(index, step) {
	for (let i = index + step; i > 0 && i < frames.length; i += step) {
		if (!frames[i].hidden && frames[i].depth === frames[index].depth) {
			return i;
		}
	}
	return -1;
}

function walk(key) {
	let next = zoomed;
	if (cursor >= 0) {
		const outward = (key === 'ArrowUp') !== inverted;
		if (key === 'ArrowLeft' || key === 'ArrowRight') {
			next = besides(cursor, key === 'ArrowLeft' ? -1 : 1);
		} else {
			next = outward ? childOf(cursor) : frames[cursor].parent;
		}
	}
	if (next >= 0) {
		setCursor(next);
	}
}

function escape() {
	if (search.text) {
		find('', search.exact);
		remember(false);
	} else if (zoomed || cursor >= 0) {
		reset();
	}
	field.blur();
}

function onKey(event) {
	const typing = document.activeElement === field;
	const command = event.ctrlKey || event.metaKey;
	if ((command && event.key.toLowerCase() === 'f' && !typing) || (event.key === '/' && !typing && !command)) {
		field.focus();
		field.select();
	} else if (event.key === 'Escape') {
		escape();
	} else if (typing || command || event.altKey || event.target.tagName === 'button') {
		return;
	} else if (/^Arrow/.test(event.key)) {
		walk(event.key);
	} else if (event.key === 'Enter' && cursor >= 0) {
		zoom(cursor);
		remember(true);
	} else {
		return;
	}
	event.preventDefault();
}

function listen() {
	let typed = 0;
	framesGroup.addEventListener('mouseover', function (event) {
		const frame = frameAt(event);
		if (frame) {
			showDetails(frame);
		}
	});
	framesGroup.addEventListener('mouseleave', function () {
		showDetails(null);
	});
	framesGroup.addEventListener('click', function (event) {
		const frame = frameAt(event);
		if (frame) {
			setCursor(-1);
			zoom(frame.index);
			remember(true);
		}
	});
	field.addEventListener('input', function () {
		clearTimeout(typed);
		typed = setTimeout(function () {
			find(field.value, search.exact);
			remember(false);
		}, frames.length > 5000 ? 200 : 40);
	});
	caseButton.addEventListener('click', function () {
		find(field.value, !search.exact);
		remember(false);
	});
	resetButton.addEventListener('click', reset);
	(alone ? document : svg).addEventListener('keydown', onKey);
	if (alone) {
		window.addEventListener('scroll', function () {
			atRoot = !inverted && window.scrollY + window.innerHeight >= neededHeight() - 2;
			layoutEdges();
		}, {passive: true});
		window.addEventListener('popstate', recall);
		window.addEventListener('hashchange', recall);
	}
	window.addEventListener('resize', refitSoon);
	if (window.ResizeObserver) {
		new ResizeObserver(refitSoon).observe(alone ? svg : svg.parentElement);
	}
}

function start() {
	svg.removeAttribute('viewBox');
	svg.setAttribute('tabindex', '0');
	// As wide as its place, but the width itself stays: an <object> without a size takes that.
	svg.style.maxWidth = fixedWidth ? 'none' : '100%';
	svg.style.minWidth = fixedWidth ? 'none' : '100%';
	if (!alone && svg.firstElementChild) {
		svg.querySelectorAll(':scope > title').forEach(function (element) {
			element.remove();
		});
	}
	refit();
	recall();
	listen();
	svg.classList.add('ready');
}

if (frames.length) {
	start();
}
})();
