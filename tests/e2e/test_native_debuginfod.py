# SPDX-License-Identifier: Apache-2.0
"""Names of a stripped program come from a debuginfod server when DEBUGINFOD_URLS names one, and only then."""
import ctypes
import http.server
import re
import subprocess
import threading

import pytest

PROGRAM = """
#include <time.h>
static __attribute__((noinline)) long secret_work(long n)
{
	for (volatile int i = 0; i < 1000; i++)
		n += i;
	return n;
}
int main(void)
{
	long n = 0;
	while (clock() < CLOCKS_PER_SEC / 2)
		n = secret_work(n);
	return n == 1;
}
"""


@pytest.fixture
def server(tmp_path):
    """(its URL, {path: file}, [paths that were asked for])."""
    files, asked = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = files[self.path].read_bytes() if self.path in files else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        try:
            yield "http://127.0.0.1:%d" % httpd.server_port, files, asked
        finally:
            httpd.shutdown()
            thread.join()


def test_names_from_a_server(record, server, tmp_path):
    try:
        ctypes.CDLL("libdebuginfod.so.1")
    except OSError:
        pytest.skip("no libdebuginfod.so.1")
    url, files, asked = server
    program, debug = tmp_path / "program", tmp_path / "program.debug"
    (tmp_path / "program.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-g", "-O2", "-Wl,--build-id=sha1", "-o", program, tmp_path / "program.c"], check=True)
    notes = subprocess.run(["readelf", "-n", program], check=True, stdout=subprocess.PIPE).stdout.decode()
    build_id = re.search(r"Build ID: ([0-9a-f]+)", notes)[1]
    subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
    subprocess.run(["strip", program], check=True)
    path = "/buildid/%s/debuginfo" % build_id
    files[path] = debug

    def named(urls):
        env = {"DEBUGINFOD_URLS": urls, "DEBUGINFOD_CACHE_PATH": str(tmp_path / "cache"), "no_proxy": "127.0.0.1"}
        ran = record("-n", command=[program], env=env)
        assert ran.status == 0, ran
        return {label for stack, _ in ran.stacks for label in stack if "(program" in label or "program+" in label}

    assert not any("secret_work" in label for label in named("")) and not asked
    assert any(label.startswith("secret_work") for label in named(url)), asked
    assert path in asked
