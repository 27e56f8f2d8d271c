// Links made slow on purpose: a rate and a delay around any backend, without root.
//
// "20mbit/40ms"                        20 * 10^6 bits per second each way, 40 ms round trip
// "up=5mbit,down=50mbit,rtt=80ms"      an asymmetric access link; what is left out is not limited
// "unlimited"                          no shaping
//
// Every worker has its own access link, shared by all its peers. The shaper charges what an Ethernet link
// would carry, 66 bytes of headers for each packet of up to 1448 bytes (1514 for a full one);
// acknowledgements are free. It changes the clock, never the result. The model is in comm/shaped_transport.h.
#pragma once

#include <cstdint>
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
// The shortest text that parse_link reads as the same link.
std::string to_string(const LinkSpec& link);

// Bytes on an Ethernet link for one message of `bytes` bytes; an empty message takes a packet too.
std::uint64_t ethernet_bytes(std::uint64_t bytes);

// Puts the link around inner, before its first exchange; hands it back unchanged if the link is unlimited.
// All workers of a world must give the same link: a receiver infers from it when the first bit left.
std::unique_ptr<Communicator> shape(std::unique_ptr<Communicator> inner, const LinkSpec& link);

}  // namespace thinwire::comm
