// A certificate authority of one's own and certificates for the members of a world, for mutual TLS.
//
// DIR/ca.crt, DIR/ca.key                                the authority; its key stays where it was made
// DIR/NAME/ca.crt, DIR/NAME/worker.crt, worker.key      what the machine of NAME gets
#pragma once

#include <string>
#include <vector>

namespace thinwire::comm {

struct CertificateOptions {
  std::string dir;
  std::vector<std::string> names = {"coordinator"};  // a certificate each
  std::vector<std::string> hosts{};  // names and addresses of the machines, besides localhost and 127.0.0.1
  int days = 30;                     // until they expire; 0 and below: expired, for tests
};

// Writes them, all files with mode 0600 in folders of 0700, and returns the folders of the names. An
// authority that DIR holds already is used, so that certificates can be added. Throws std::invalid_argument
// for names that are none, std::runtime_error if a certificate of that name exists or a file cannot be
// written.
std::vector<std::string> make_certificates(const CertificateOptions& options);

}  // namespace thinwire::comm
