// Links as a user or a config names them.
#include <stdexcept>

#include "comm/link.h"
#include "tests/fuzz/input.h"

namespace thinwire::fuzz {

std::vector<std::string> seeds() {
  return {"unlimited",     "20mbit/40ms", "up=5mbit,down=50mbit,rtt=80ms",
          "1.5gbit/250us", "rtt=2s",      "down=9600bit"};
}

}  // namespace thinwire::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinwire;
  const std::string text = fuzz::Input(data, size).rest_as_text();
  try {
    const comm::LinkSpec link = comm::parse_link(text);
    for (const double rate : {link.up_bits_per_s, link.down_bits_per_s}) {
      fuzz::require(rate == 0 || (rate >= 1 && rate <= 1e12), "a rate is within its limits");
    }
    fuzz::require(link.rtt_s >= 0 && link.rtt_s <= 60, "a round trip is within its limits");
    const std::string written = comm::to_string(link);
    fuzz::require(comm::to_string(comm::parse_link(written)) == written, "a link is read as it was written");
  } catch (const std::invalid_argument&) {
  }
  return 0;
}
