// SPDX-License-Identifier: Apache-2.0
//! The same as chain.cc in Rust: its stack is known at any moment. chain SEED.
//!
//! step() goes through one of the ways below and back into step() until its path has ended; then leaf() works. Each way stands on
//! the stack with what it needs, so that every stack can be judged by itself (tests/e2e/test_native_unwind.py).
use std::hint::black_box;
use std::io::Write;

#[no_mangle]
#[inline(never)]
fn leaf(kind: u8) -> u64 {
    let mut sum = 0u64;
    for i in 0..400u64 {
        sum = black_box(sum + i);
        if kind == b'0' && i & 15 == 0 {
            sum += std::time::Instant::now().elapsed().subsec_nanos() as u64;
        }
    }
    sum
}

#[no_mangle]
#[inline(never)]
fn in_sort(path: &[u8]) {
    step(path);
    black_box((path, 1)); // or the compiler makes one of it and others
}

#[no_mangle]
#[inline(never)]
fn through_sort(path: &[u8]) {
    let mut two = [2, 1];
    let mut first = true;
    two.sort_by(|a, b| {
        if std::mem::replace(&mut first, false) {
            in_sort(path);
        }
        a.cmp(b)
    });
    black_box(two);
}

#[no_mangle]
#[inline(never)]
fn in_dyn(path: &[u8]) {
    step(path);
    black_box((path, 2)); // or the compiler makes one of it and others
}

#[no_mangle]
#[inline(never)]
fn through_dyn(path: &[u8]) {
    let call: Box<dyn Fn(&[u8])> = Box::new(|p| in_dyn(p));
    black_box(&call)(path);
    black_box(path);
}

#[no_mangle]
#[inline(never)]
fn in_map(path: &[u8]) -> usize {
    step(path);
    black_box(path.len())
}

#[no_mangle]
#[inline(never)]
fn through_map(path: &[u8]) {
    let lengths: Vec<usize> = black_box(vec![path]).into_iter().map(in_map).collect();
    black_box(lengths);
}

#[repr(align(64))]
struct Block([u8; 256]);

#[no_mangle]
#[inline(never)]
fn through_realigned(path: &[u8]) {
    let mut block = Block([0; 256]);
    black_box(&mut block).0[path.len()] = 1;
    step(path);
    black_box(&block);
}

#[no_mangle]
#[inline(never)]
fn throw_it(path: &[u8]) {
    std::panic::resume_unwind(Box::new(path.to_vec()));
}

#[no_mangle]
#[inline(never)]
fn through_panic(path: &[u8]) {
    let caught = std::panic::catch_unwind(|| throw_it(path)).unwrap_err();
    step(caught.downcast_ref::<Vec<u8>>().unwrap());
    black_box(&caught);
}

#[no_mangle]
#[inline(never)]
fn through_depth(path: &[u8], depth: u32) {
    if depth > 0 {
        through_depth(path, depth - 1);
    } else {
        step(path);
    }
    black_box(depth);
}

#[no_mangle]
#[inline(never)]
fn step(path: &[u8]) {
    match path[0] {
        b's' => through_sort(&path[1..]),
        b'y' => through_dyn(&path[1..]),
        b'm' => through_map(&path[1..]),
        b'r' => through_realigned(&path[1..]),
        b'x' => through_panic(&path[1..]),
        b'd' => through_depth(&path[1..], 30),
        kind => {
            black_box(leaf(kind));
        }
    }
    black_box(path);
}

fn main() {
    let ways = b"symrdx";
    let mut seed: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let mut random = move |n: usize| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as usize % n
    };
    println!("ready");
    std::io::stdout().flush().unwrap();
    loop {
        let mut path: Vec<u8> = (0..random(6)).map(|_| ways[random(ways.len())]).collect();
        path.push(b'0' + random(2) as u8);
        step(&path);
    }
}
