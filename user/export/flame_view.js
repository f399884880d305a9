// SPDX-License-Identifier: Apache-2.0
// The picture: fits the flame graph to its place and to what is zoomed. The markup that it relies on is
// described in flamegraph.c. Everything is looked up inside its own <svg> and no id is used, so that several
// graphs can live in one page.

const svg = document.currentScript.closest('.pybpf-flamegraph');
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
