// SPDX-License-Identifier: Apache-2.0
// How wide text is, and making it fit. First of the three parts of the flame graph's script, which share one scope:
// flame_text.js, flame_view.js (the picture), flame_act.js (what it answers to); embed.mk puts them together.
// Comments stay on lines of their own and strings on one line: see scripts/embed.sh.

// Widths are measured once a character, without touching the layout.
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
