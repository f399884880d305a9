# SPDX-License-Identifier: Apache-2.0
# The script and the style sheet of the flame graph become C strings. Included by the Makefile.

$(B)/gen/flamegraph_js.h: user/export/flamegraph.js scripts/embed.sh
	$(call say,EMBED,$@)
	$(Q)mkdir -p $(@D)
	$(Q)sh scripts/embed.sh flamegraph_js $< > $@

$(B)/gen/flamegraph_css.h: user/export/flamegraph.css scripts/embed.sh
	$(call say,EMBED,$@)
	$(Q)mkdir -p $(@D)
	$(Q)sh scripts/embed.sh flamegraph_css $< > $@

$(B)/user/export/flamegraph.o: $(B)/gen/flamegraph_js.h $(B)/gen/flamegraph_css.h
