"""What tests share: a fake classifier, servers, browsers, sample files and records."""
