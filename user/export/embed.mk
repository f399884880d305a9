# SPDX-License-Identifier: Apache-2.0
# The script and the style sheet of the flame graph become C strings. Included by the Makefile.

FLAME_JS := user/export/flame_text.js user/export/flame_view.js user/export/flame_act.js

$(B)/gen/flamegraph_js.h: $(FLAME_JS) scripts/embed.sh
	$(call say,EMBED,$@)
	$(Q)mkdir -p $(@D)
	$(Q)sh scripts/embed.sh flamegraph_js $(FLAME_JS) > $@

$(B)/gen/flamegraph_css.h: user/export/flamegraph.css scripts/embed.sh
	$(call say,EMBED,$@)
	$(Q)mkdir -p $(@D)
	$(Q)sh scripts/embed.sh flamegraph_css $< > $@

$(B)/user/export/flamegraph.o: $(B)/gen/flamegraph_js.h $(B)/gen/flamegraph_css.h
