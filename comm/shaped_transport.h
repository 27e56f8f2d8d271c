// A slow access link around any transport.
//
// The model: uplink and downlink of a worker are each a first-come-first-served server of the link's rate.
//   sender:    a message starts when the uplink is free, takes ethernet_bytes * 8 / up, and is handed to the
//   inner
//              transport when its last bit has left.
//   receiver:  sees it arrive there; its last bit then travels rtt/2, and its first bit did so one
//   transmission time
//              earlier (all workers have the same link, so the receiver knows that time and needs no common
//              clock). It is delivered when the downlink has passed all of it, and not before its last bit
//              has come:
//                  end = max(max(first bit, downlink free) + ethernet_bytes * 8 / down,  last bit).
//              This is cut-through: a lone message costs one transmission and half a round trip, not two.
// Control messages overtake data: they wait for other control messages only. Data that is queued later pays
// for the time they took; data already under way is not pushed back. A message that came before anybody asked
// for it is timed from its arrival, as on a real link.
#pragma once

#include <functional>
#include <memory>

#include "comm/link.h"
#include "comm/transport.h"

namespace thinwire::comm {

using ClockFunction = std::function<Clock::time_point()>;

std::unique_ptr<Transport> make_shaped_transport(
    std::unique_ptr<Transport> inner, const LinkSpec& link,
    ClockFunction clock = [] { return Clock::now(); });

}  // namespace thinwire::comm
