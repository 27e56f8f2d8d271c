// "HOST:PORT" as people write it: 127.0.0.1:0, tokyo:7000, [::1]:7000.
#pragma once

#include <cstdint>
#include <string>

namespace thinwire::comm {

struct Address {
  std::string host;  // without brackets
  std::uint16_t port = 0;
};

// what: the option's name, for the message. Throws std::invalid_argument.
Address parse_address(const std::string& text, const std::string& what);
std::string to_string(const Address& address);

// Every address that the host's name stands for is this machine's own. False for names that nobody knows.
bool is_loopback(const std::string& host);

// Throws std::invalid_argument for an address that others can reach, if there are no certificates.
void require_tls_or_loopback(const Address& address, const std::string& tls_dir, const std::string& what);

}  // namespace thinwire::comm
