// Links made slow on purpose: a rate and a delay around any backend, without root.
//
// "20mbit/40ms"                        20 * 10^6 bits per second each way, 40 ms round trip
// "up=5mbit,down=50mbit,rtt=80ms"      an asymmetric access link
// "unlimited"                          no shaping
//
// Every worker has its own access link, shared by all its peers. The shaper charges what an Ethernet link
// would carry: 1514 bytes for every 1448 bytes of TCP payload, whole packets. It changes the clock, never the
// result.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "comm/communicator.h"

namespace thinwire::comm {

struct LinkSpec {
  double up_bits_per_s = 0;    // 0: unlimited
  double down_bits_per_s = 0;  // 0: unlimited
  double rtt_s = 0;            // between any two workers
  bool unlimited() const { return up_bits_per_s == 0 && down_bits_per_s == 0 && rtt_s == 0; }
};

// Throws std::invalid_argument with the grammar and an example.
LinkSpec parse_link(std::string_view text);
std::string to_string(const LinkSpec& link);

// Bytes on an Ethernet link for one message of `bytes` bytes.
std::uint64_t ethernet_bytes(std::uint64_t bytes);

// Wraps inner; hands it back unchanged if the link is unlimited.
std::unique_ptr<Communicator> shape(std::unique_ptr<Communicator> inner, const LinkSpec& link);

}  // namespace thinwire::comm
