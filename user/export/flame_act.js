// SPDX-License-Identifier: Apache-2.0
// What the flame graph answers to: pointer, keys, the search field and the address. Then the start.

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
	zoomed = frames[Number(values.z)] ? Number(values.z) : 0;
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

start();
